"""Detokenization: converts token ids to bytes, and incrementally to text.

Vocabulary entries are in GPT-2's byte alphabet, or in SentencePiece's notation with `▁` and `<0xNN>`.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial

from hermes_cli.engines.base import PromptToken
from hermes_cli.engines.stream_filters import Piece
from hermes_cli.prompts.prompt_format import Segment

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def _byte_alphabet() -> dict[str, int]:
    """Map GPT-2's characters to bytes: printable Latin-1 to itself, U+0100 and up to the other bytes.

    Source: `bytes_to_unicode` in the GPT-2 encoder, which all byte-level BPE tokenizers use.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(others)}


def entry_bytes(entry: str, *, byte_level: bool) -> bytes:
    """Return the bytes of a vocabulary entry in byte-level or SentencePiece notation."""
    if byte_level:
        alphabet = _byte_alphabet()
        if all(c in alphabet for c in entry):
            return bytes(alphabet[c] for c in entry)
        return entry.encode()
    if match := _BYTE_TOKEN.fullmatch(entry):
        return bytes([int(match[1], 16)])
    return entry.replace("▁", " ").encode()


def texts(ids: Iterable[int], vocabulary: Sequence[str], *, byte_level: bool) -> dict[str, int]:
    """Return the text of each of the tokens `ids`. Ids that the vocabulary does not contain are left out."""
    tokens = ((token_bytes(vocabulary, i, byte_level=byte_level), i) for i in ids if i >= 0)
    return {data.decode(errors="replace"): i for data, i in tokens if data}


def ids_where(
    matches: Callable[[str], bool], vocabulary: Iterable[str], *, byte_level: bool
) -> frozenset[int]:
    """Return the ids of the tokens whose text `matches` accepts."""
    data = (entry_bytes(entry, byte_level=byte_level) for entry in vocabulary)
    return frozenset(i for i, token in enumerate(data) if matches(token.decode(errors="replace")))


def token_bytes(vocabulary: Sequence[str], token: int, *, byte_level: bool) -> bytes:
    """Return the bytes of a token, or no bytes for an id that the vocabulary does not contain."""
    return entry_bytes(vocabulary[token], byte_level=byte_level) if token < len(vocabulary) else b""


def prompt_tokens(
    segments: Iterable[Segment], vocabulary: Sequence[str], *, byte_level: bool
) -> list[PromptToken]:
    """Return the tokens of a rendered prompt with their bytes.

    SentencePiece adds a space before each text that it encodes; this space is removed.
    """
    result: list[PromptToken] = []
    bytes_of = cache(partial(token_bytes, vocabulary, byte_level=byte_level))
    for segment in segments:
        for index, token in enumerate(segment.ids):
            data = bytes_of(token)
            if index == 0 and not byte_level and not segment.control:
                data = data.removeprefix(b" ")
            result.append(PromptToken(token, data, segment.control))
    return result


class Detokenizer:
    """An incremental detokenizer. `vocabulary` contains the entry of each id."""

    def __init__(self, vocabulary: Sequence[str], *, byte_level: bool) -> None:
        self._vocabulary = vocabulary
        self._byte_level = byte_level
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids: list[int] = []
        self._text = ""

    def feed(self, token: int) -> Piece | None:
        """Add the next id. Return the characters that it completes, with all of their ids.

        Return None while a character is incomplete. If an id ends one character and begins the next, both
        are held back, because they share that id.
        """
        self._ids.append(token)
        self._text += self._decoder.decode(token_bytes(self._vocabulary, token, byte_level=self._byte_level))
        if self._decoder.getstate()[0]:
            return None
        piece = Piece(self._text, tuple(self._ids))
        self._ids, self._text = [], ""
        return piece
