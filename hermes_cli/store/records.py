"""The records of the store: conversations and messages, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hermes_cli.messages import Message, Role, TurnIds


class MessageState(StrEnum):
    """How a message ended, or that it is unfinished."""

    COMPLETE = "complete"
    STOPPED = "stopped"  # cancelled, or the program was killed during the generation
    FAILED = "failed"  # the engine raised an error
    PARTIAL = "partial"  # still being generated


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """How an answer was generated: model, options, token counts, and times in seconds."""

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
    """A message in the tree. `parent` is None for a root; `created` is in seconds since 1970."""

    id: int
    conversation: int
    parent: int | None
    role: Role
    text: str
    state: MessageState
    created: float
    made: GenerationRecord = field(default_factory=GenerationRecord)

    @property
    def message(self) -> Message:
        """The message as the engines use it."""
        return Message(self.role, self.text, self.made.turn_ids)


@dataclass(frozen=True, slots=True)
class SavedSettings:
    """The settings of a conversation: the user's name, the random seed, the user's note, the summaries.

    `note_depth` counts turns from the end. A summary is a message id and the text that replaces the path up
    to and including that message.
    """

    user: str = ""
    seed: int | None = None
    note: str = ""
    note_depth: int = 0
    summaries: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation. `leaf` is its last visible message; `opening` precedes its tree in every prompt.

    `count` is the number of messages in the tree, `model` the model of the newest answer. `created` and
    `updated` are in seconds since 1970.
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
    setting: SavedSettings = field(default_factory=SavedSettings)


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that a search found, with an excerpt around the match.

    `model` is the model that wrote it; `created` is in seconds since 1970.
    """

    conversation: int
    title: str
    message: int
    role: Role
    excerpt: str
    created: float
    model: str
