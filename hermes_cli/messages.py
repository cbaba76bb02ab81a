"""Role, Message and Conversation: pure, frozen values.

This file knows what was said and by whom. It refuses to know how a model is prompted, where a
conversation is kept, and how it looks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """Who speaks. The values are ChatML's own role names."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class TurnIds:
    """The token ids of one turn exactly as the model saw and made them.

    `ids` is everything between the turn's two control tokens, the role header included, so that the turn
    can be put back into a prompt unchanged. `vocabulary` names the tokenizer they belong to; an engine
    with another one encodes the text again.
    """

    vocabulary: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: a role, a text, and for a generated reply the ids it was generated with."""

    role: Role
    text: str
    turn_ids: TurnIds | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns so far, oldest first. Adding a turn makes a new value; none is ever changed."""

    messages: tuple[Message, ...] = ()

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, *messages: Message) -> "Conversation":
        """Return the conversation with the messages at its end."""
        return Conversation(self.messages + messages)

    @property
    def system(self) -> str | None:
        """The system prompt, or None where the conversation has none."""
        if self.messages and self.messages[0].role is Role.SYSTEM:
            return self.messages[0].text
        return None

    def with_system(self, text: str | None) -> "Conversation":
        """Return the same turns under another system prompt; None takes it away."""
        turns = self.messages[1:] if self.system is not None else self.messages
        head = () if text is None else (Message(Role.SYSTEM, text),)
        return Conversation(head + turns)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a conversation begins: the system prompt, examples of how it goes, and the greetings.

    `examples` are whole exchanges, oldest first. Of the `greetings` one is shown, the others are its swipes.
    """

    system: str | None = None
    examples: tuple[Message, ...] = ()
    greetings: tuple[str, ...] = ()

    @property
    def before(self) -> tuple[Message, ...]:
        """What goes before every turn: system prompt and examples."""
        head = () if self.system is None else (Message(Role.SYSTEM, self.system),)
        return head + self.examples

    def conversation(self, greeting: int = 0) -> Conversation:
        """Return the conversation before the person's first turn, with one of the greetings."""
        shown = self.greetings[greeting : greeting + 1]
        return Conversation((*self.before, *(Message(Role.ASSISTANT, text) for text in shown)))

    @classmethod
    def behind(cls, before: Iterable[Message], greetings: tuple[str, ...] = ()) -> "Opening":
        """Return the opening whose system prompt and examples are those messages."""
        turns = tuple(before)
        if turns and turns[0].role is Role.SYSTEM:
            return cls(turns[0].text, turns[1:], greetings)
        return cls(None, turns, greetings)
