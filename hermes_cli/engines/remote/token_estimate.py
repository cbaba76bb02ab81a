"""Estimates the tokens of a prompt for servers that cannot count them, from the counts of earlier answers."""

from collections.abc import Sequence
from typing import Final

from hermes_cli.messages import Message

FIRST_RATIO: Final = 0.4
"""Tokens per byte before the first answer: more than the 0.2 to 0.35 of English text and code."""
MAX_RATIO: Final = 1.0
"""No tokenizer makes more tokens of a text than it has bytes."""
PER_MESSAGE: Final = 6
"""Tokens around each message. ChatML has 5, Llama 3 has 5 or 6."""
MARGIN: Final = 1.05
"""The estimate is a bit too large, so that a prompt that seems to fit does fit."""
CUT_SHARE: Final = 0.6
"""A server that reports less than this share of the estimate has probably cut the prompt."""
MIN_BYTES: Final = 200
"""Shorter prompts say little about the ratio."""


class TokenEstimate:
    """Estimates the number of tokens of messages."""

    def __init__(self) -> None:
        self._ratio = FIRST_RATIO
        self.is_learned = False

    def count(self, messages: Sequence[Message]) -> int:
        """Return the estimated number of tokens of the prompt for the messages."""
        margin = MARGIN if self.is_learned else 1.0
        return round(margin * self._ratio * _size(messages)) + PER_MESSAGE * (len(messages) + 1)

    def learn(self, messages: Sequence[Message], tokens: int) -> None:
        """Adapt the estimate to the tokens that a server has counted for the messages."""
        size = _size(messages)
        around = PER_MESSAGE * (len(messages) + 1)
        if size >= MIN_BYTES and tokens > around:
            self._ratio = min((tokens - around) / size, MAX_RATIO)
            self.is_learned = True

    def seems_cut(self, messages: Sequence[Message], tokens: int) -> bool:
        """Return whether a server has counted so few tokens that it has probably cut the prompt."""
        return self.is_learned and tokens < CUT_SHARE * self.count(messages)


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message.sent_text.encode(errors="replace")) for message in messages)
