"""The conversation tree: messages with their parents, and a cursor."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Role, TurnIds


class MessageState(StrEnum):
    """Whether a message is complete, still being generated, or cut off."""

    COMPLETE = "complete"
    STOPPED = "stopped"  # cancelled, or the program was killed during generation
    FAILED = "failed"  # the engine raised an error
    PARTIAL = "partial"  # still being generated


class GenerationRecord(NamedTuple):
    """How an answer was generated: model, options, token counts, times in seconds, and its reasoning."""

    model: str = ""
    precision: str = ""
    options: Mapping[str, Any] = MappingProxyType({})
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    turn_ids: TurnIds | None = None
    reasoning: str = ""


class Node(NamedTuple):
    """A message in a tree. `parent` is None for a root; `created` is in seconds since 1970, 0 if unknown.

    If `is_hidden` is true, the message is left out of prompts. `speaker` is that of the message.
    """

    id: int
    parent: int | None
    role: Role
    text: str
    state: MessageState = MessageState.COMPLETE
    created: float = 0.0
    generation: GenerationRecord = GenerationRecord()
    is_hidden: bool = False
    speaker: str = ""

    @property
    def message(self) -> Message:
        """The message to send to an engine."""
        made = self.generation
        return Message(self.role, self.text, made.turn_ids, self.speaker, reasoning=made.reasoning or None)


class Tree:
    """All messages of one conversation, and the cursor: the last visible message.

    The ids of the nodes are 1, 2, 3 … in the order in which they were added. Nodes are never deleted, except
    by `withdraw`. A method that raises UsageError changes nothing.
    """

    def __init__(self, greetings: Iterable[str] = ()) -> None:
        self._nodes = list[Node]()
        self._path: tuple[Node, ...] = ()
        self.greet(Message(Role.ASSISTANT, text) for text in greetings)

    def greet(self, greetings: Iterable[Message]) -> None:
        """Add greetings under the cursor, and move the cursor to the first one."""
        parent, first = self.cursor, len(self._nodes)
        for number, greeting in enumerate(greetings, first + 1):
            self._nodes.append(Node(number, parent, greeting.role, greeting.text, speaker=greeting.speaker))
        self._path = (*self._path, *self._nodes[first : first + 1])

    @classmethod
    def from_nodes(cls, nodes: Iterable[Node], cursor: int | None) -> "Tree":
        """Return a tree of `nodes`, renumbered from 1. Each parent must come before its children."""
        tree, ids = cls(), dict[int, int]()
        for node in nodes:
            new_id, parent = len(tree._nodes) + 1, ids.get(node.parent or 0)
            tree._nodes.append(node._replace(id=new_id, parent=parent))
            ids[node.id] = new_id
        tree._path = tree.path_to(ids.get(cursor or 0))
        return tree

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, parents before their children, older siblings first."""
        return tuple(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def path(self) -> tuple[Node, ...]:
        """The visible messages, from the root to the cursor. The tuple is not rebuilt on each access."""
        return self._path

    @property
    def sent_path(self) -> tuple[Node, ...]:
        """The visible messages that prompts include."""
        return tuple(node for node in self._path if not node.is_hidden)

    @property
    def cursor(self) -> int | None:
        """The id of the last visible message, or None if no message is visible."""
        return self._path[-1].id if self._path else None

    @property
    def is_at_greeting(self) -> bool:
        """Whether only the greetings of the characters are visible."""
        return bool(self._path) and all(
            node.role is Role.ASSISTANT and not node.generation.model for node in self._path
        )

    @property
    def is_unanswered(self) -> bool:
        """Whether the last visible message is the user's."""
        return bool(self._path) and self._path[-1].role is Role.USER

    def node(self, node_id: int) -> Node | None:
        """Return the node with this id, or None."""
        return self._nodes[node_id - 1] if 1 <= node_id <= len(self._nodes) else None

    def path_to(self, node_id: int | None) -> tuple[Node, ...]:
        """Return the nodes from the root to a node, or an empty tuple if there is no such node."""
        path, node = list[Node](), self.node(node_id or 0)
        while node is not None:
            path.append(node)
            node = self.node(node.parent or 0)
        return tuple(reversed(path))

    def children(self, parent: int | None) -> list[Node]:
        """Return the children of a node, or the roots if `parent` is None, oldest first."""
        return [node for node in self._nodes if node.parent == parent]

    def answers(self, parent: int | None) -> list[Node]:
        """Return the children of a node that are answers, or the greetings if `parent` is None."""
        return [node for node in self.children(parent) if node.role is Role.ASSISTANT]

    def append(
        self,
        message: Message,
        state: MessageState = MessageState.COMPLETE,
        generation: GenerationRecord | None = None,
        created: float = 0.0,
    ) -> Node:
        """Add a message under the cursor, move the cursor there, and return the node."""
        record = generation or GenerationRecord(turn_ids=message.turn_ids)
        number, speaker = len(self._nodes) + 1, message.speaker
        node = Node(number, self.cursor, message.role, message.text, state, created, record, speaker=speaker)
        self._nodes.append(node)
        self._path = (*self._path, node)
        return node

    def withdraw(self, cursor: int | None) -> None:
        """Delete the node that was added last, which has no children, and move the cursor to another node."""
        self._nodes.pop()
        self.move_to(cursor)

    def move_to(self, cursor: int | None) -> None:
        """Make a node the last visible message. None hides all messages."""
        self._path = self.path_to(cursor)

    def rewind(self, length: int) -> None:
        """Hide all but the first `length` messages of the path."""
        self._path = self._path[:length]

    def user_turn(self, count: int = 1) -> int:
        """Return the index in `path` of the user's `count`-th turn from the end."""
        turns = [index for index, node in enumerate(self._path) if node.role is Role.USER]
        if not turns:
            raise UsageError("you have not sent a message yet", "send a message first")
        if not 1 <= count <= len(turns):
            available = "is 1 turn" if len(turns) == 1 else f"are {len(turns)} turns"
            raise UsageError(f"cannot go back {count} turns: there {available} in this conversation")
        return turns[-count]

    def require(self, node_id: int) -> Node:
        """Return the node with this id. Raises UsageError if there is none."""
        node = self.node(node_id)
        if node is None:
            raise UsageError(f"this conversation has no message {node_id}", "/tree lists its messages")
        return node

    def require_visible(self, node_id: int) -> Node:
        """Return the visible message with this id. Raises UsageError if there is none."""
        node = self.require(node_id)
        if node not in self._path:
            raise UsageError(f"message {node_id} is on another branch", f"/goto {node_id} goes to it")
        return node

    def branch(self, node_id: int, text: str | None, created: float = 0.0) -> None:
        """Show a new branch in which a visible message has another text, or is left out if `text` is None.

        The later messages are copied to the new branch. The earlier branch stays in the tree.
        """
        node = self.require_visible(node_id)
        index = self._path.index(node)
        later = self._path[index + 1 :]
        if text is None and later and not index:  # all first messages have the same role
            raise UsageError(
                "the first message cannot be deleted", f"/hide {node_id} leaves it out of the prompt"
            )
        self.rewind(index)
        if text is not None:
            self._copy(
                node._replace(
                    text=text,
                    state=MessageState.COMPLETE,
                    created=created,
                    generation=GenerationRecord(),
                )
            )
        for other in later:
            self._copy(other)

    def _copy(self, node: Node) -> None:
        """Add a copy of a node under the cursor, and move the cursor there."""
        copy = node._replace(id=len(self._nodes) + 1, parent=self.cursor)
        self._nodes.append(copy)
        self._path = (*self._path, copy)

    def hide(self, node_id: int) -> Node:
        """Leave a message out of prompts, or include it again; return the changed node."""
        node = self.require(node_id)
        self._nodes[node_id - 1] = changed = node._replace(is_hidden=not node.is_hidden)
        self._path = self.path_to(self.cursor)
        return changed

    def undo(self, count: int = 1) -> None:
        """Hide the user's last `count` turns and their answers."""
        self.rewind(self.user_turn(count))

    def edit(self, count: int, turn: Message, created: float = 0.0) -> Node:
        """Add an alternative to the user's `count`-th turn from the end, and return its node."""
        self.undo(count)
        return self.append(turn, created=created)

    def swipes(self) -> list[Node]:
        """Return the last answer or greeting and its alternatives, oldest first."""
        if not self._path or self._path[-1].role is not Role.ASSISTANT:
            raise UsageError("the last message is not an answer", "send a message first")
        return self.answers(self._path[-1].parent)

    def swipe(self, index: int) -> None:
        """Show the alternative at this index in `swipes()`."""
        swipes = self.swipes()
        if not 0 <= index < len(swipes):
            generate = "/swipe right generates another"
            noun, hint = ("greeting", "") if self.is_at_greeting else ("answer", generate)
            available = f"there {'is' if len(swipes) == 1 else 'are'} only {len(swipes)}"
            raise UsageError(f"there is no {noun} {index + 1} here: {available}", hint)
        self.move_to(swipes[index].id)

    def goto(self, node_id: int) -> None:
        """Show the path to a message.

        For a user turn, show its newest answer too; if it has none, stop at the message before it.
        """
        node = self.require(node_id)
        if node.role is Role.USER:
            answers = self.answers(node_id)
            self.move_to(answers[-1].id if answers else node.parent)
        else:
            self.move_to(node_id)

    def fork(self) -> "Tree":
        """Return a tree of the visible messages and the alternatives of the answers among them."""
        visible = {node.id for node in self._path}
        answered = {node.parent for node in self._path if node.role is Role.ASSISTANT}
        copied = [
            node
            for node in self._nodes
            if node.id in visible
            or (
                node.parent in answered
                and node.role is Role.ASSISTANT
                and node.state is not MessageState.PARTIAL
            )
        ]
        return Tree.from_nodes(copied, self.cursor)
