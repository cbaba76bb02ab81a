"""Encodes ordinary text. The ids of a text never include a control token."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from hermes_cli.errors import HermesError, UsageError

CACHED_TEXTS = 1024
PIECE = 1 << 15
"""Characters of a long text that are encoded at a time while its tokens are counted."""

CONTROL_SPELLING = re.compile(r"<[^\s<>]*\w[^\s<>]*>|\[[^\s\[\]]*\w[^\s\[\]]*\]")

Encode = Callable[[str], list[int]]
"""A function that returns the token ids of ordinary text and adds no tokens such as BOS.

It raises UnknownControl if it recognizes control tokens in the text that were not known before.
"""


class UnknownControl(Exception):  # noqa: N818 - it is no error: the text is encoded in another way
    """The `ids` of a text contain unknown control tokens; `tokens` maps their texts to their ids."""

    def __init__(self, ids: list[int], tokens: Mapping[str, int]) -> None:
        super().__init__()
        self.ids = ids
        self.tokens = tokens


def looks_like_control(token: str) -> bool:
    """Return whether a token is in angle or square brackets, without spaces, and with a letter or digit.

    Added tokens that do not look so, such as runs of spaces, are ordinary text.
    """
    return CONTROL_SPELLING.fullmatch(token) is not None


class TextEncoder:
    """Encodes ordinary text with one vocabulary.

    `encode` returns the ids of a text. `control` maps the text of each control token to its id, and `end_ids`
    are further ids that no text may have.
    """

    def __init__(self, encode: Encode, control: Mapping[str, int], end_ids: Iterable[int] = ()) -> None:
        self._tokenize = encode
        self._lock = threading.Lock()  # an answer and a prefill encode at the same time
        self._control = dict(control)
        self._end_ids = frozenset(end_ids)
        self._prepare()
        # Each prompt repeats all earlier turns; because of the cache, only new turns are encoded.
        self.cached_ids = lru_cache(maxsize=CACHED_TEXTS)(lambda text: tuple(self.encode_text(text)))
        self.has_more_tokens = lru_cache(maxsize=CACHED_TEXTS)(self._count_pieces)
        self._newline: list[int] = []
        self._newline = self.encode_text("\n")

    def _prepare(self) -> None:
        literals = sorted(filter(None, self._control), key=len, reverse=True)
        self._literals = re.compile("|".join(map(re.escape, literals)) or "(?!)")
        self._control_ids = self._end_ids.union(self._control.values())

    def _encode(self, text: str) -> list[int]:
        try:
            return self._tokenize(text)
        except UnknownControl as found:
            with self._lock:
                if not self._control_ids.issuperset(found.tokens.values()):
                    self._control.update(found.tokens)
                    self._prepare()
            return found.ids

    def encode_text(self, text: str) -> list[int]:
        """Return the ids of `text`, encoded as ordinary text. They never include a control token.

        Raises UsageError for a lone surrogate, which no tokenizer can encode.
        """
        return self._without_control(text, self._encode)

    def encode_after_newline(self, text: str) -> list[int]:
        """Like `encode_text`, but for text that continues a segment instead of starting one.

        SentencePiece adds a space at the start of the text that it encodes, but not after a newline.
        """
        return self._without_control(text, self._encode_continuation)

    def _without_control(self, text: str, encode: Encode) -> list[int]:
        _utf8(text)
        ids = encode(text)
        if not self.holds_control(ids):
            return ids
        first, *rest = self._cut(text)
        ids = encode(first) + [i for piece in rest for i in self._encode_continuation(piece)]
        if self.holds_control(ids):
            raise HermesError("the text was not sent: its ids contain a control token of the model")
        return ids

    def _encode_continuation(self, text: str) -> list[int]:
        ids = self._encode("\n" + text)
        if ids[: len(self._newline)] == self._newline:
            return ids[len(self._newline) :]
        # The newline was merged with the next character, so this is a BPE tokenizer, which adds no space.
        return self._encode(text)

    def has_literal(self, text: str) -> bool:
        """Return whether a text contains the text of a control token."""
        return self._literals.search(text) is not None

    def holds_control(self, ids: Iterable[int]) -> bool:
        """Return whether `ids` contains a control token."""
        return not self._control_ids.isdisjoint(ids)

    def _cut(self, text: str) -> Iterable[str]:
        """Split `text` so that no piece contains the full text of a control token.

        Each control token is split after its first character, a bracket. Without its added tokens, the
        tokenizer has a token boundary there anyway.
        """
        start = 0
        for match in self._literals.finditer(text):
            yield text[start : match.start() + 1]
            start = match.start() + 1
        yield text[start:]

    def _count_pieces(self, text: str, limit: int) -> bool:
        """Return whether a text has more than `limit` tokens.

        The text is encoded in pieces, whose tokens are a few more or less than those of the whole text.
        """
        if len(_utf8(text)) <= limit // 2:  # a token has at least a byte
            return False
        tokens = 0
        for start in range(0, len(text), PIECE):
            tokens += len(self._encode(text[start : start + PIECE]))
            if tokens > limit:
                return True
        return False


def _utf8(text: str) -> bytes:
    """Return the text in UTF-8. Raises UsageError for a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        character = f"U+{ord(text[error.start]):04X}"
        raise UsageError(
            f"the text contains an invalid character ({character}) at position {error.start}",
            "remove it: a lone surrogate is half of a character",
        ) from None
