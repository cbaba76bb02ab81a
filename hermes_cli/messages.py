"""Immutable messages and conversations."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """The author of a message. The values are the role names of ChatML."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class TurnIds(NamedTuple):
    """The token ids of one turn, exactly as the model read and generated them.

    `ids` are the ids between the turn's two control tokens, including the role; later prompts reuse them.
    `vocabulary` identifies their tokenizer; an engine with a different tokenizer encodes the text again.
    `is_named` is that of the message.
    """

    vocabulary: str
    ids: tuple[int, ...]
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: its role, its text, and, for a generated answer, its token ids.

    `speaker` is the name of the character or of the user, or "" for the only ones of the conversation. If the
    turn `is_named`, the model reads the name and a colon before the text. An engine may save the KV cache of
    the first messages of a prompt to disk if they are `cacheable`. A turn that `is_open` at the end of a
    prompt has no end token, so that the model continues it.

    `reasoning` is what the model wrote before its answer, or None. If it is empty in the answer that a prompt
    ends with, the model answers without reasoning.
    """

    role: Role
    text: str
    turn_ids: TurnIds | None = field(default=None, repr=False)
    speaker: str = ""
    is_named: bool = False
    reasoning: str | None = field(default=None, repr=False)
    cacheable: bool = field(default=False, repr=False, compare=False)
    is_open: bool = field(default=False, repr=False, compare=False)

    @property
    def sent_text(self) -> str:
        """The text that the model reads."""
        if not self.is_named:
            return self.text
        return f"{self.speaker}: {self.text}" if self.text else f"{self.speaker}:"


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of a conversation, oldest first."""

    messages: tuple[Message, ...] = ()

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, *messages: Message) -> "Conversation":
        """Return a new conversation with the messages appended."""
        return Conversation(self.messages + messages)

    @property
    def system(self) -> str | None:
        """The system prompt, or None if the conversation has none."""
        if self.messages and self.messages[0].role is Role.SYSTEM:
            return self.messages[0].text
        return None


class Opening(NamedTuple):
    """The beginning of a conversation: the system prompt, example exchanges, and greetings.

    `examples` are complete exchanges, oldest first. One of `greetings` is shown; the others are its swipes.
    `cacheable` is true if the KV cache of the system prompt and the examples may be saved to disk. It is true
    for those of a persona, and false for text that the user typed. `character_at` is the length of the part
    of `system` that precedes the character's description; lore can be inserted there.
    """

    system: str | None = None
    examples: tuple[Message, ...] = ()
    greetings: tuple[str, ...] = ()
    cacheable: bool = False
    character_at: int = 0

    @property
    def before(self) -> tuple[Message, ...]:
        """The system prompt and the examples, as messages."""
        head = () if self.system is None else (Message(Role.SYSTEM, self.system),)
        return head + self.examples

    def conversation(self) -> Conversation:
        """Return the conversation before the user's first turn, including the first greeting, if any."""
        return Conversation((*self.before, *(Message(Role.ASSISTANT, text) for text in self.greetings[:1])))

    @classmethod
    def behind(cls, before: Iterable[Message], greetings: tuple[str, ...] = ()) -> "Opening":
        """Return the opening whose system prompt and examples are in `before`."""
        turns = tuple(before)
        if turns and turns[0].role is Role.SYSTEM:
            return cls(turns[0].text, turns[1:], greetings)
        return cls(None, turns, greetings)
