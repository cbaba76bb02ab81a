"""Tests that the tree, the screen and the store agree after any moves, with every kind of failure."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, Completion, FinishReason, PromptToken, Timings, Usage
from hermes_cli.errors import ContextOverflow, HermesError, StoreError, UsageError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.store.store import Store
from hermes_cli.tree import Tree

SYSTEM, USER, ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT
EXAMPLE = (Message(USER, "example q"), Message(ASSISTANT, "example a"))
OPENINGS = {
    "plain": (),
    "system": (Message(SYSTEM, "s"),),
    "greeting": (Message(SYSTEM, "s"),),
    "examples": (Message(SYSTEM, "s"), *EXAMPLE),
    "examples and greeting": (Message(SYSTEM, "s"), *EXAMPLE),
}


def opening_named(name: str) -> Opening:
    """Return an opening, with two greetings if its name has "greeting"."""
    return Opening.behind(OPENINGS[name], ("hello", "good day") if "greeting" in name else ())


OUTCOMES = (
    "answers",
    "returns nothing",
    "is stopped at once",
    "is stopped",
    "fails",
    "fails at once",
    "overflows",
)


class UnreliableEngine:
    """An engine that answers, or fails in the way that is set."""

    name, context_size, placement = "unreliable", 10**6, None
    max_context_size = context_size
    estimates_tokens = False

    def __init__(self) -> None:
        self.outcome = "answers"
        self._numbers = count(1)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield an answer that differs from all others, or the part of it before the failure."""
        del messages, options, cancel
        if self.outcome == "overflows":
            raise ContextOverflow(9, 8)
        return self._chunks()

    def _chunks(self) -> Iterator[Chunk]:
        if self.outcome == "fails at once":
            raise HermesError("broken")
        if self.outcome in {"answers", "is stopped", "fails"}:
            yield Chunk(f"answer {next(self._numbers)}")
        if self.outcome == "fails":
            raise HermesError("broken")
        stopped = self.outcome.startswith("is stopped")
        reason = FinishReason.CANCELLED if stopped else FinishReason.STOP
        yield Chunk("", Completion(reason, Usage(1, 1, 0), Timings(0, 0), None))

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        """Do nothing."""

    def count_tokens(
        self, messages: Sequence[Message], limit: int | None = None, cancel: Cancel | None = None
    ) -> int:
        """Return any number."""
        del limit, cancel
        return len(messages)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return no tokens."""
        del messages
        return []

    def close(self) -> None:
        """Do nothing."""


class FailingStore(Store):
    """A store in memory whose writes all fail after the first `writes`."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes = writes

    def __getattribute__(self, name: str) -> Any:
        if name in {"begin", "add", "grow", "end", "move", "set_opening", "set_setting"}:
            self.writes -= 1
            if self.writes < 0:
                raise StoreError("the disk is full")
        return super().__getattribute__(name)


class History:
    """A session over a store or none, and the moves that a user can make."""

    def __init__(self, opening: str, store: Store | None) -> None:
        self.engine, self.store = UnreliableEngine(), store
        self.failures: list[StoreError] = []
        recorder = Recorder(store, self.failures.append)
        self.session = Session(
            self.engine, [Member(opening=opening_named(opening))], LayeredOptions(), recorder
        )
        self.sent = count(1)

    def move(self, name: str, outcome: str, number: int) -> None:
        """Make one move. A move that is refused with a UsageError changes nothing."""
        self.engine.outcome = outcome
        before = self.snapshot
        try:
            answer = self._moves(number)[name]()
            if answer is not None:
                list(answer)
        except UsageError:
            assert self.snapshot == before
        except HermesError:
            pass

    def _moves(self, number: int) -> dict[str, Callable[[], Iterator[Chunk] | None]]:
        session, new, tree = self.session, f"question {next(self.sent)}", self.session.tree

        def resume() -> None:
            conversations = self.store.conversations() if self.store else []
            if conversations:
                saved_conversations.resume(session, conversations[number % len(conversations)])

        return {
            "send": lambda: session.send(new, Cancel()),
            "regenerate": lambda: session.regenerate(Cancel()),
            "continue": lambda: session.continue_answer(Cancel()),
            "edit": lambda: session.edit(1 + number % 3, new, Cancel()),
            "replace": lambda: session.replace_answer(f"replaced {new}"),
            "undo": lambda: session.undo(1 + number % 2),
            "swipe": lambda: session.swipe(number % len(tree.swipes())),
            "goto": lambda: session.goto(1 + number % (len(tree) or 1)),
            "fork": lambda: session.fork("copy"),
            "resume": resume,
            "clear": session.clear,
            "system": lambda: session.set_system(f"system {number}" if tree.path else "s"),
        }

    @property
    def snapshot(self) -> list[object]:
        """The whole tree without times, the cursor, and the system prompt."""
        tree = self.session.tree
        nodes = [(node.id, node.parent, node.role, node.text, node.state) for node in tree.nodes]
        return [nodes, tree.cursor, self.session.conversation.system]

    def check(self) -> None:
        """Check that the store has the tree of the session, and that no text is stored twice."""
        recorder, tree = self.session.recorder, self.session.tree
        assert not self.failures
        if recorder.conversation is None:
            assert len(tree) == len(self.session.opening.greetings)
            return
        assert recorder.store is not None
        conversation = recorder.store.conversation(recorder.conversation)
        assert conversation is not None
        stored = Tree.from_nodes(recorder.store.tree(conversation.id), conversation.leaf)
        assert [(node.parent, node.text, node.state) for node in stored.nodes] == [
            (node.parent, node.text, node.state) for node in tree.nodes
        ]
        assert stored.cursor == tree.cursor
        texts = [node.text for node in tree.nodes if node.text]  # empty answers may repeat
        assert len(set(texts)) == len(texts)
        assert len({node.role for node in tree.nodes if node.parent is None}) <= 1


MOVES = (
    "send",
    "send",
    "regenerate",
    "continue",
    "edit",
    "replace",
    "undo",
    "swipe",
    "goto",
    "fork",
    "clear",
)
outcomes = st.sampled_from(OUTCOMES)


def moves(*names: str) -> st.SearchStrategy[list[tuple[str, str, int]]]:
    """Return a strategy for sequences of moves, each with the engine's behavior and a number."""
    return st.lists(st.tuples(st.sampled_from(names), outcomes, st.integers(0, 50)), max_size=25)


@pytest.mark.parametrize("opening", OPENINGS)
@settings(max_examples=60, deadline=None)
@given(steps=moves(*MOVES, "resume", "system"))
def test_the_store_has_the_tree_of_the_session(opening: str, steps: list[tuple[str, str, int]]) -> None:
    """After every move, whatever fails, the store has the same tree and position, and no text twice."""
    with closing(Store()) as store:
        history = History(opening, store)
        for step in steps:
            history.move(*step)
            history.check()


@pytest.mark.parametrize("opening", OPENINGS)
@settings(max_examples=60, deadline=None)
@given(steps=moves(*MOVES, "system"), writes=st.integers(0, 40))
def test_the_tree_does_not_depend_on_the_store(
    opening: str, steps: list[tuple[str, str, int]], writes: int
) -> None:
    """The same moves give the same tree with a store, without one, and with one that fails at any point."""
    with closing(Store()) as store, closing(FailingStore(writes)) as failing, ExitStack() as stack:
        histories = [History(opening, each) for each in (store, None, failing)]
        for history in histories:
            stack.callback(history.session.recorder.close)  # the failing store is replaced by another
        for step in steps:
            for history in histories:
                history.move(*step)
            assert histories[0].snapshot == histories[1].snapshot == histories[2].snapshot
        assert len(histories[2].failures) <= 1
