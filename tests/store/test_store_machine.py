"""Tests of the store against plain dicts, with random operations in any order."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from hermes_cli.messages import Message, Role
from hermes_cli.store.store import Store
from hermes_cli.tree import GenerationRecord, MessageState, Tree

USER = Role.USER


class StoreMachine(RuleBasedStateMachine):
    """Run the same operations (add, edit, fork, move, remove, reopen) on the store and on plain dicts."""

    conversations = Bundle("conversations")
    messages = Bundle("messages")

    @initialize()
    def start(self) -> None:
        """Begin with an empty file."""
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "c.db"
        self.store = Store(self.file)
        self.left_open: list[Store] = []
        self.leaves: dict[int, int | None] = {}
        self.nodes: dict[int, tuple[int, int | None, str, MessageState]] = {}

    @rule(target=conversations)
    def begin(self) -> int:
        """Begin a conversation."""
        number = self.store.begin([], "")
        self.leaves[number] = None
        return number

    @rule(target=messages, conversation=conversations, text=st.text(max_size=20), partial=st.booleans())
    def add(self, conversation: int, text: str, partial: bool) -> int:  # noqa: FBT001 - drawn
        """Add a message after the conversation's leaf."""
        if conversation not in self.leaves:
            return -1
        text = text.encode("utf-8", "replace").decode()
        state = MessageState.PARTIAL if partial else MessageState.COMPLETE
        parent = self.leaves[conversation]
        number = self.store.add(conversation, parent, Message(USER, text), state)
        self.nodes[number] = (conversation, parent, text, state)
        self.leaves[conversation] = number
        return number

    @rule(target=messages, message=messages, text=st.text("abc", max_size=5))
    def edit(self, message: int, text: str) -> int:
        """Add an alternative to a message."""
        if message not in self.nodes:
            return -1
        conversation, parent, _, _ = self.nodes[message]
        number = self.store.add(conversation, parent, Message(USER, text))
        self.nodes[number] = (conversation, parent, text, MessageState.COMPLETE)
        self.leaves[conversation] = number
        return number

    @rule(target=conversations, conversation=conversations)
    def fork(self, conversation: int) -> int:
        """Fork the visible path into another conversation."""
        if conversation not in self.leaves:
            return -1
        path, at = list[int](), self.leaves[conversation]
        while at is not None:
            path.insert(0, at)
            at = self.nodes[at][1]
        copy = Tree.from_nodes(self.store.path(self.leaves[conversation]), self.leaves[conversation])
        number = self.store.begin([], "", copy)
        copies = [message.id for message in self.store.tree(number)]
        assert len(copies) == len(path)
        for old, new, parent in zip(path, copies, [None, *copies], strict=False):
            _, _, text, state = self.nodes[old]
            ended = MessageState.STOPPED if state is MessageState.PARTIAL else state
            self.nodes[new] = (number, parent, text, ended)  # nobody goes on writing the copy
        self.leaves[number] = copies[-1] if copies else None
        return number

    @rule(message=messages, text=st.text("abc", max_size=5), state=st.sampled_from(MessageState))
    def end(self, message: int, text: str, state: MessageState) -> None:
        """Set the final text and state of a message."""
        if message in self.nodes:
            conversation, parent, _, _ = self.nodes[message]
            self.store.end(message, text, state, GenerationRecord())
            self.nodes[message] = (conversation, parent, text, state)

    @rule(message=messages)
    def move(self, message: int) -> None:
        """Move to another message of the tree."""
        if message in self.nodes:
            self.store.move(self.nodes[message][0], message)
            self.leaves[self.nodes[message][0]] = message

    @rule(conversation=conversations)
    def remove(self, conversation: int) -> None:
        """Remove a conversation."""
        assert self.store.remove([conversation]) == (conversation in self.leaves)
        self.leaves.pop(conversation, None)
        self.nodes = {n: node for n, node in self.nodes.items() if node[0] != conversation}

    @rule(closed=st.booleans())
    def reopen(self, closed: bool) -> None:  # noqa: FBT001 - drawn
        """Open the file again, with or without closing it first."""
        if closed:
            self.store.close()
        else:
            self.left_open.append(self.store)
        self.store = Store(self.file)

    @invariant()
    def the_trees_are_equal(self) -> None:
        """The store has the same conversations, leaves and messages as the dicts."""
        if not hasattr(self, "leaves"):
            return
        leaves = {conversation.id: conversation.leaf for conversation in self.store.conversations()}
        assert leaves == self.leaves
        trees = [(number, m) for number in self.leaves for m in self.store.tree(number)]
        assert {m.id: (number, m.parent, m.text, m.state) for number, m in trees} == self.nodes

    def teardown(self) -> None:
        """Delete the file."""
        if hasattr(self, "folder"):
            for store in (self.store, *self.left_open):
                store.close()
            self.folder.cleanup()


TestStoreMachine = pytest.mark.slow(StoreMachine.TestCase)
TestStoreMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
