"""An assembled prompt: its messages, its parts, and the parts that were left out."""

from enum import StrEnum
from typing import NamedTuple

from hermes_cli.chat.lore_budget import ActiveEntry
from hermes_cli.messages import Message


class PartKind(StrEnum):
    """The kinds of prompt parts, named and ordered as `/context` prints them."""

    SYSTEM = "system prompt and persona"
    ALWAYS = "constant lore"
    EXAMPLES = "examples"
    SUMMARY = "summary"
    LORE = "active lore"
    TURNS = "turns"
    NOTES = "notes"
    POST_HISTORY = "after the last turn"
    HEAD = "start of the answer"


class PromptPart(NamedTuple):
    """A part of the prompt: its token count, and how many of its pieces are included (`kept` of `of`)."""

    kind: PartKind
    tokens: int
    kept: int = 1
    of: int = 1


class Prompt(NamedTuple):
    """A prompt. The tokens of its parts add up to `tokens`, which the engine counted.

    Of the `window` tokens, `answer_room` are reserved for the answer. `first` is the index of the first turn
    that is included. `always` and `active` are the constant and the fired lore entries in the prompt, and
    `without_room` those that did not fit. `skipped` reports work that was left out after the deadline.
    """

    messages: tuple[Message, ...]
    parts: tuple[PromptPart, ...]
    tokens: int
    window: int
    answer_room: int
    first: int = 0
    always: tuple[ActiveEntry, ...] = ()
    active: tuple[ActiveEntry, ...] = ()
    without_room: tuple[ActiveEntry, ...] = ()
    skipped: str = ""

    @property
    def is_counted(self) -> bool:
        """Whether `tokens` is exact. It is not if a text has more than twice the tokens of the window."""
        return self.tokens <= 2 * self.window

    @property
    def left_out(self) -> tuple[PromptPart, ...]:
        """The parts that are not included completely."""
        return tuple(part for part in self.parts if part.kept < part.of)
