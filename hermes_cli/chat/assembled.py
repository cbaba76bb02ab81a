"""What goes to the model, as frozen values: the messages, what they are made of, and what was left out."""

from dataclasses import dataclass
from enum import StrEnum

from hermes_cli.chat.telling import Told
from hermes_cli.messages import Message


class Kind(StrEnum):
    """What a part of the prompt is, in the words of `/context`. They stand in this order."""

    SYSTEM = "system prompt and persona"
    ALWAYS = "lore that is always told"
    EXAMPLES = "examples"
    SUMMARY = "what was condensed"
    LORE = "lore that fired"
    TURNS = "turns"
    NOTES = "notes"
    POST_HISTORY = "after the last turn"
    HEAD = "the answer's beginning"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the prompt: its tokens, and how many pieces of how many are in it."""

    kind: Kind
    tokens: int
    kept: int = 1
    of: int = 1


@dataclass(frozen=True, slots=True)
class Assembled:
    """A prompt. The parts' tokens add up to `tokens`, which is the engine's own count.

    `answer_room` is what is kept free for the answer, of `window` tokens. `first` is the place of the first
    turn that is kept. `without_room` are entries that fired, or are always told, and found no room.
    """

    messages: tuple[Message, ...]
    parts: tuple[Part, ...]
    tokens: int
    window: int
    answer_room: int
    first: int = 0
    always: tuple[Told, ...] = ()
    told: tuple[Told, ...] = ()
    without_room: tuple[Told, ...] = ()

    @property
    def left_out(self) -> tuple[Part, ...]:
        """The parts of which something is left out."""
        return tuple(part for part in self.parts if part.kept < part.of)
