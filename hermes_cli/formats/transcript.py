"""Transcripts: the conversations, with their whole trees, that the formats read and write."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hermes_cli.messages import Message, Role
from hermes_cli.store.records import SavedSettings, StoredConversation
from hermes_cli.store.store import title_of
from hermes_cli.tree import GenerationRecord, MessageState, Node, Tree
from hermes_cli.untrusted.source import line_feeds

ELSEWHERE: Final = 0
"""The id of a conversation that is not in a store."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation and the tree of its messages.

    `remarks` are messages for the user about parts of the file that were not imported. `character` is the
    display name of the persona, if it is known.
    """

    conversation: StoredConversation
    tree: Tree
    remarks: tuple[str, ...] = ()
    character: str = ""

    @classmethod
    def of(
        cls, conversation: StoredConversation, messages: Sequence[Node], remarks: Sequence[str] = ()
    ) -> "Transcript":
        """Return a transcript of `messages`, renumbered from 1. A parent must come before its children."""
        tree = Tree.from_nodes(messages, conversation.leaf)
        ids = {message.id: node.id for message, node in zip(messages, tree.nodes, strict=True)}
        setting = conversation.setting.renumbered(ids)
        return cls(conversation._replace(leaf=tree.cursor, setting=setting), tree, tuple(remarks))

    def with_line_feeds(self) -> "Transcript":
        """Return the transcript with LF at the end of each line of its messages."""
        opening = tuple(replace(turn, text=line_feeds(turn.text)) for turn in self.conversation.opening)
        setting = self.conversation.setting._replace(note=line_feeds(self.conversation.setting.note))
        conversation = self.conversation._replace(opening=opening, setting=setting)
        nodes = [node._replace(text=line_feeds(node.text)) for node in self.tree.nodes]
        return Transcript.of(conversation, nodes, self.remarks)

    @property
    def system(self) -> tuple[Message, ...]:
        """The system messages at the beginning of the opening."""
        return split(self.conversation.opening)[0]

    @property
    def turns(self) -> tuple[Message, ...]:
        """The opening, followed by the visible path. In a group, the texts begin with the speakers' names."""
        turns = [stored.message for stored in self.tree.path]
        if self.conversation.setting.others:
            turns = [replace(turn, is_named=bool(turn.speaker)) for turn in turns]
        return (
            *self.conversation.opening,
            *(replace(turn, text=turn.sent_text, is_named=False) for turn in turns),
        )


def message(
    number: int,
    parent: int | None,
    turn: Message,
    *,
    created: float = 0.0,
    state: MessageState = MessageState.COMPLETE,
    model: str = "",
) -> Node:
    """Return a message node of a tree that is not in a store."""
    record = GenerationRecord(model=model, reasoning=turn.reasoning or "")
    return Node(number, parent, turn.role, turn.text, state, created, record, speaker=turn.speaker)


def transcript(
    messages: Sequence[Node],
    leaf: int | None,
    *,
    opening: Sequence[Message] = (),
    title: str = "",
    is_named: bool = False,
    persona: str = "",
    setting: SavedSettings | None = None,
    remarks: Sequence[str] = (),
) -> Transcript:
    """Return a transcript. Its times come from the messages. The title defaults to the first user message."""
    first_prompt = next((message.text for message in messages if message.role is Role.USER), "")
    times = [message.created for message in messages if message.created]
    conversation = StoredConversation(
        ELSEWHERE,
        title or title_of(first_prompt),
        is_named,
        persona,
        tuple(opening),
        min(times, default=0.0),
        max(times, default=0.0),
        leaf,
        setting=setting or SavedSettings(),
    )
    return Transcript.of(conversation, messages, remarks)


def split(turns: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return the system messages at the beginning, and the turns after them."""
    count = next((n for n, turn in enumerate(turns) if turn.role is not Role.SYSTEM), len(turns))
    return tuple(turns[:count]), tuple(turns[count:])


def linear(turns: Sequence[Message], *, examples: int = 0, title: str = "") -> Transcript:
    """Return a transcript without branches.

    `examples` is the number of turns after the system messages that are examples for the model. They belong
    to the opening.
    """
    system, others = split(turns)
    opening, rest = (*system, *others[:examples]), others[examples:]
    messages = [message(n, n - 1 or None, turn) for n, turn in enumerate(rest, 1)]
    return transcript(messages, len(messages) or None, opening=opening, title=title)
