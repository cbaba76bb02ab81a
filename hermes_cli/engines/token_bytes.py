"""The bytes of a token id, decoded from the notations of vocabularies.

These are GPT-2's byte alphabet, and SentencePiece's `▁` and `<0xNN>`.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache

from hermes_cli.chatml import Segment
from hermes_cli.engines.base import PromptToken

MAX_GAP = 1 << 16
"""Largest number of unused ids in a vocabulary: a list with larger gaps would exhaust the memory."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each of GPT-2's letters: printable Latin-1 is itself, the rest begins at U+0100.

    Source: `bytes_to_unicode` of the GPT-2 encoder, which every byte-level BPE follows.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(others)}


def piece_bytes(piece: str, *, byte_level: bool) -> bytes:
    """Return the bytes of a vocabulary entry, which is in byte-level or in SentencePiece notation."""
    if byte_level:
        alphabet = _byte_alphabet()
        if all(c in alphabet for c in piece):
            return bytes(alphabet[c] for c in piece)
        return piece.encode()
    if match := _BYTE_TOKEN.fullmatch(piece):
        return bytes([int(match[1], 16)])
    return piece.replace("▁", " ").encode()


def notation(vocabulary: Sequence[str], token: int) -> str:
    """Return the vocabulary entry of a token, or "" if the model has more ids than the vocabulary."""
    return vocabulary[token] if token < len(vocabulary) else ""


def prompt_tokens(
    segments: Iterable[Segment], vocabulary: Sequence[str], *, byte_level: bool
) -> list[PromptToken]:
    """Return the tokens of a rendered prompt with their bytes.

    SentencePiece puts a space before each text that it encodes. That space is not part of the text, so it is
    removed.
    """
    result: list[PromptToken] = []
    for segment in segments:
        for index, token in enumerate(segment.ids):
            data = piece_bytes(notation(vocabulary, token), byte_level=byte_level)
            if index == 0 and not byte_level and not segment.control:
                data = data.removeprefix(b" ")
            result.append(PromptToken(token, data, segment.control))
    return result


def vocabulary_of(tokenizer_json: str) -> tuple[list[str], bool]:
    """Return the vocabulary of a tokenizer.json in the order of its ids, and whether it is byte-level.

    Raises ValueError if the ids have gaps of more than MAX_GAP in total.
    """
    spec = json.loads(tokenizer_json)
    spelling = {int(i): token for token, i in spec["model"]["vocab"].items()}
    spelling |= {int(token["id"]): token["content"] for token in spec.get("added_tokens", [])}
    if max(spelling) > len(spelling) + MAX_GAP:
        raise ValueError(f"it has {len(spelling):,} tokens, and one with the id {max(spelling):,}")
    pieces = [spelling.get(i, "") for i in range(max(spelling) + 1)]
    return pieces, "ByteLevel" in json.dumps([spec.get("pre_tokenizer"), spec.get("decoder")])
