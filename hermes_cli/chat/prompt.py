"""An assembled prompt as frozen values: its messages, its parts, and the parts that were left out."""

from dataclasses import dataclass
from enum import StrEnum

from hermes_cli.chat.lore_budget import ActiveEntry
from hermes_cli.messages import Message


class PartKind(StrEnum):
    """The kind of a part of the prompt, as `/context` prints it. The order is that of the output."""

    SYSTEM = "system prompt and persona"
    ALWAYS = "constant lore"
    EXAMPLES = "examples"
    SUMMARY = "summary"
    LORE = "active lore"
    TURNS = "turns"
    NOTES = "notes"
    POST_HISTORY = "after the last turn"
    HEAD = "start of the answer"


@dataclass(frozen=True, slots=True)
class PromptPart:
    """One part of the prompt: its tokens, and how many (`kept`) of its pieces (`of`) are included."""

    kind: PartKind
    tokens: int
    kept: int = 1
    of: int = 1


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt. The tokens of its parts add up to `tokens`, which the engine counted.

    Of the `window` tokens, `answer_room` are reserved for the answer. `first` is the index of the first turn
    that is included. `always` and `active` are the lore entries in the prompt; `without_room` are the entries
    that fired, or are always included, but did not fit.
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

    @property
    def left_out(self) -> tuple[PromptPart, ...]:
        """The parts that are not included completely."""
        return tuple(part for part in self.parts if part.kept < part.of)
