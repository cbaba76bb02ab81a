"""Renders conversations as ChatML token ids.

Control tokens are inserted by id, never by encoding their text. The text between two control tokens (role,
newline, content) is encoded as one segment. If the encoded ids include a control token, every occurrence of
a control token's text is split in two, and the parts are encoded separately. A rendered conversation
therefore has exactly two control tokens per complete turn, regardless of its content.
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.messages import Message, Role

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"

CACHED_TURNS = 1024
PIECE = 1 << 15
"""Characters of a long text that are encoded at a time while its tokens are counted."""

_CONTROL_SPELLING = re.compile(r"<[^\s<>]*\w[^\s<>]*>|\[[^\s\[\]]*\w[^\s\[\]]*\]")

Encode = Callable[[str], list[int]]
"""A function that returns the token ids of ordinary text and adds no tokens such as BOS."""


def looks_like_control(token: str) -> bool:
    """Return whether a token is in angle or square brackets, without spaces, and with a letter or digit.

    Added tokens that do not look so, such as runs of spaces, are ordinary text.
    """
    return _CONTROL_SPELLING.fullmatch(token) is not None


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a rendered prompt: a control token, or the text between two control tokens."""

    ids: tuple[int, ...]
    control: bool


def missing_tokens(tokens: Container[str]) -> ModelUnavailable | None:
    """Return the error for a vocabulary with these tokens, or None if both ChatML tokens are among them."""
    missing = [token for token in (IM_START, IM_END) if token not in tokens]
    if not missing:
        return None
    return ModelUnavailable(
        f"the model does not support ChatML: its vocabulary has no {' and no '.join(missing)} token",
        "choose a ChatML model, such as openhermes-2 or the starter",
    )


class ChatML:
    """Renders conversations with one vocabulary.

    `encode` returns the ids of ordinary text. `control` maps the text of each control token to its id, and
    `end_ids` are further ids that end an answer. `vocabulary` identifies the tokenizer; the stored ids of a
    turn are reused only if they have the same identifier. `between_turns` is the text between the end of a
    turn and the start of the next one.

    Raises ModelUnavailable if `control` lacks one of the two ChatML tokens, or if a newline is a control
    token.
    """

    def __init__(
        self,
        encode: Encode,
        control: Mapping[str, int],
        vocabulary: str,
        between_turns: str = "\n",
        end_ids: Iterable[int] = (),
    ) -> None:
        if problem := missing_tokens(control):
            raise problem
        self._encode = encode
        self._control_ids = frozenset({*control.values(), *end_ids})
        literals = sorted(filter(None, control), key=len, reverse=True)
        self._literals = re.compile("|".join(map(re.escape, literals)))
        self.vocabulary = vocabulary
        self.im_start = control[IM_START]
        self.im_end = control[IM_END]
        # Each prompt repeats all earlier turns; because of the cache, only new turns are encoded.
        self._encode_turn = lru_cache(maxsize=CACHED_TURNS)(lambda text: tuple(self.encode_text(text)))
        self._has_more_tokens = lru_cache(maxsize=CACHED_TURNS)(self._count_pieces)
        if self.holds_control(encode("\n")):
            raise ModelUnavailable(
                "the model cannot be used: its vocabulary makes a newline a control token",
                "choose another model",
            )
        self._newline = self.encode_text("\n")
        self._between_turns = Segment(tuple(self.encode_text(between_turns)), control=False)

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

    def segments(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the prompt for `messages` as segments.

        If the last message is open or the assistant's, it has no end token, so that the model continues it.
        Otherwise, a new assistant turn is opened. For ordinary text, the ids are the same as those of the
        model's chat template.
        """
        segments = self._closed_turns(messages)
        if _is_continued(messages):
            return segments[:-2]
        start = Segment((self.im_start,), control=True)
        return [*segments, start, Segment(self.open_turn_ids(messages), control=False)]

    def _closed_turns(self, messages: Sequence[Message]) -> list[Segment]:
        """Return the complete turns of `messages`, each with the separator after it."""
        start = Segment((self.im_start,), control=True)
        end = Segment((self.im_end,), control=True)
        segments: list[Segment] = []
        for message in messages:
            segments += [start, Segment(self.turn_ids(message), control=False), end, self._between_turns]
        return segments

    def open_turn_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids after the start token of the turn that the model will continue."""
        if _is_continued(messages):
            return self.turn_ids(messages[-1])
        return self.turn_ids(Message(Role.ASSISTANT, ""))

    def turn_ids(self, message: Message) -> tuple[int, ...]:
        """Return the ids between the two control tokens of a turn.

        Stored ids are returned if they belong to this vocabulary, contain no control token, and begin with a
        name if the message is named. Otherwise, the text is encoded.
        """
        stored = self._stored_ids(message)
        return self._encode_turn(f"{message.role}\n{message.sent_text}") if stored is None else stored

    def _stored_ids(self, message: Message) -> tuple[int, ...] | None:
        stored = message.turn_ids
        if stored is None or (stored.vocabulary, stored.is_named) != (self.vocabulary, message.is_named):
            return None
        return None if self.holds_control(stored.ids) else stored.ids

    def count(self, messages: Sequence[Message], limit: int) -> int:
        """Return the number of tokens of the prompt for `messages`.

        A text of more than 2 * `limit` tokens counts as 2 * `limit` + 1, and is not encoded as a whole. Time
        and memory for a text therefore depend on the limit.
        """
        tokens = sum(self._turn_length(message, limit) for message in messages)
        separators = len(messages) * (2 + len(self._between_turns.ids))
        if _is_continued(messages):
            return tokens + separators - 1 - len(self._between_turns.ids)
        return tokens + separators + 1 + len(self.open_turn_ids(messages))

    def _turn_length(self, message: Message, limit: int) -> int:
        is_long = len(message.sent_text) > PIECE and self._stored_ids(message) is None
        if is_long and self._has_more_tokens(message.sent_text, 2 * limit):
            return 2 * limit + 1
        return len(self.turn_ids(message))

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

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt for `messages` as one list of token ids."""
        return [i for segment in self.segments(messages) for i in segment.ids]

    def cacheable_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first turns that are cacheable, with the separator after each."""
        first = list(takewhile(lambda message: message.cacheable, messages))
        return [i for segment in self._closed_turns(first) for i in segment.ids]

    def common_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids that begin every prompt in which another turn follows `messages`."""
        turns = [i for segment in self._closed_turns(messages) for i in segment.ids]
        return [*turns, self.im_start]


def _is_continued(messages: Sequence[Message]) -> bool:
    """Return whether the model continues the last message, and does not begin a new one."""
    return bool(messages) and (messages[-1].is_open or messages[-1].role is Role.ASSISTANT)


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
