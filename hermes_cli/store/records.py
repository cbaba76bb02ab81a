"""What the store keeps: conversations and messages, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hermes_cli.messages import Message, Role, TurnIds


class State(StrEnum):
    """How a message ended, or that it has not."""

    COMPLETE = "complete"
    STOPPED = "stopped"  # somebody stopped it, or the program was killed while it grew
    FAILED = "failed"  # the engine broke off
    PARTIAL = "partial"  # it is growing


@dataclass(frozen=True, slots=True)
class Made:
    """How a reply was made: by which model, with which options, and what it cost. Times are seconds."""

    model: str = ""
    precision: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    turn_ids: TurnIds | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message in the tree. `parent` is None at its root; `created` is seconds since 1970."""

    id: int
    conversation: int
    parent: int | None
    role: Role
    text: str
    state: State
    created: float
    made: Made = field(default_factory=Made)

    @property
    def message(self) -> Message:
        """The turn as engines take it."""
        return Message(self.role, self.text, self.made.turn_ids)


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for a conversation beside its turns: names, chance, the person's note, what was condensed.

    `note_depth` counts turns from the end. A summary stands for the path through a message: its id, the text.
    """

    user: str = ""
    seed: int | None = None
    note: str = ""
    note_depth: int = 0
    summaries: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation: `leaf` is where it stands, `opening` what goes before its tree in every prompt.

    `count` is how many messages the tree has, `model` the one that spoke last.
    """

    id: int
    title: str
    is_named: bool
    persona: str
    opening: tuple[Message, ...]
    created: float
    updated: float
    leaf: int | None
    count: int = 0
    model: str = ""
    setting: Setting = field(default_factory=Setting)


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that a search found, with the words around what was looked for.

    `model` is the one that wrote it; `created` is seconds since 1970.
    """

    conversation: int
    title: str
    message: int
    role: Role
    excerpt: str
    created: float
    model: str
