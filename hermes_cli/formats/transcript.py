"""Transcript: a conversation with its whole tree, as a file brings it or takes it away.

It knows how a tree, its visible path and a plain list of turns hang together. It refuses to know how any
file spells them, and where a conversation is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hermes_cli.messages import Message, Role
from hermes_cli.store.records import Made, State, StoredConversation, StoredMessage
from hermes_cli.store.store import title_of

ELSEWHERE: Final = 0
"""The id of a conversation that is in no store, and the time of what nobody knows when it was said."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation and all its messages, parents before their children.

    In one that was read from a file the ids hold among its own messages alone. `remarks` says what of the
    file is not in it, and why.
    """

    conversation: StoredConversation
    messages: tuple[StoredMessage, ...]
    remarks: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[StoredMessage, ...]:
        """The visible messages, from the root to where the conversation stands."""
        by_id = {message.id: message for message in self.messages}
        path, number = list[StoredMessage](), self.conversation.leaf
        while number is not None:
            path.append(by_id[number])
            number = by_id[number].parent
        return tuple(reversed(path))

    @property
    def system(self) -> tuple[Message, ...]:
        """The system prompt: what the system says before anybody else."""
        opening = self.conversation.opening
        count = next((n for n, one in enumerate(opening) if one.role is not Role.SYSTEM), len(opening))
        return opening[:count]

    @property
    def turns(self) -> tuple[Message, ...]:
        """What the model sees: everything before the tree, then the visible path."""
        return (*self.conversation.opening, *(stored.message for stored in self.path))


def message(
    number: int,
    parent: int | None,
    turn: Message,
    *,
    created: float = 0.0,
    state: State = State.COMPLETE,
    model: str = "",
) -> StoredMessage:
    """Return a message of a tree that is in no store."""
    return StoredMessage(number, ELSEWHERE, parent, turn.role, turn.text, state, created, Made(model=model))


def transcript(
    messages: Sequence[StoredMessage],
    leaf: int | None,
    *,
    opening: Sequence[Message] = (),
    title: str = "",
    is_named: bool = False,
    persona: str = "",
    created: float = 0.0,
    updated: float = 0.0,
    remarks: Sequence[str] = (),
) -> Transcript:
    """Return a transcript. Without a title it has its first question's, without times those of its turns."""
    asked = next((one.text for one in messages if one.role is Role.USER), "")
    times = [one.created for one in messages if one.created]
    conversation = StoredConversation(
        ELSEWHERE,
        title or title_of(asked),
        is_named,
        persona,
        tuple(opening),
        created or min(times, default=0.0),
        updated or max(times, default=0.0),
        leaf,
    )
    return Transcript(conversation, tuple(messages), tuple(remarks))


def split(turns: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return what the system says at the beginning, which is the opening, and the turns after it."""
    count = next((n for n, turn in enumerate(turns) if turn.role is not Role.SYSTEM), len(turns))
    return tuple(turns[:count]), tuple(turns[count:])


def linear(turns: Sequence[Message], *, examples: int = 0, title: str = "") -> Transcript:
    """Return a conversation without branches, which stands at its last turn.

    `examples` is how many turns behind the system's are there to show the model how to speak, and so belong
    to the opening.
    """
    system, spoken = split(turns)
    opening, rest = (*system, *spoken[:examples]), spoken[examples:]
    messages = [message(n, n - 1 or None, turn) for n, turn in enumerate(rest, 1)]
    return transcript(messages, len(messages) or None, opening=opening, title=title)
