"""Tests that screen and store agree after any history of a conversation, with every kind of failure."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.chat import branches
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, Completion, FinishReason, PromptToken, Timings, Usage
from hermes_cli.errors import ContextOverflow, HermesError, UsageError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, Sourced
from hermes_cli.store.store import Store

SYSTEM, USER, ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT
EXAMPLE = (Message(USER, "example q"), Message(ASSISTANT, "example a"))
OPENINGS = {
    "plain": (),
    "system": (Message(SYSTEM, "s"),),
    "greeting": (Message(SYSTEM, "s"),),
    "examples": (Message(SYSTEM, "s"), *EXAMPLE),
    "examples and greeting": (Message(SYSTEM, "s"), *EXAMPLE),
}


def opened(name: str) -> Opening:
    """Return an opening, with two greetings if its name has "greeting"."""
    return Opening.behind(OPENINGS[name], ("hello", "good day") if "greeting" in name else ())


WAYS = (
    "answers",
    "says nothing",
    "is stopped at once",
    "is stopped",
    "breaks",
    "breaks at once",
    "overflows",
)


class Fickle:
    """An engine that answers, or fails in the way that is set."""

    name, context_size = "fickle", 10**6

    def __init__(self) -> None:
        self.way = "answers"
        self._numbers = count(1)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield an answer that differs from all others, or the part of it before the failure."""
        del messages, options, cancel
        if self.way == "overflows":
            raise ContextOverflow(9, 8)
        return self._chunks()

    def _chunks(self) -> Iterator[Chunk]:
        if self.way == "breaks at once":
            raise HermesError("broken")
        if self.way in {"answers", "is stopped", "breaks"}:
            yield Chunk(f"answer {next(self._numbers)}")
        if self.way == "breaks":
            raise HermesError("broken")
        stopped = self.way.startswith("is stopped")
        reason = FinishReason.CANCELLED if stopped else FinishReason.STOP
        yield Chunk("", Completion(reason, Usage(1, 1, 0), Timings(0, 0), None))

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return any number."""
        return len(messages)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return no tokens."""
        del messages
        return []

    def close(self) -> None:
        """Do nothing."""


class History:
    """A session over a store, and the moves that a user can make."""

    def __init__(self, opening: str) -> None:
        self.engine, self.store = Fickle(), Store()
        self.session = Session(self.engine, opened(opening), Sourced(), Recorder(self.store, self.failed))
        self.asked = count(1)

    def failed(self, error: Exception) -> None:
        """Fail the test: no store fails here."""
        raise AssertionError(error)

    def move(self, name: str, way: str, number: int) -> None:
        """Make one move. A move that is refused with a UsageError changes nothing."""
        self.engine.way = way
        before = self.visible
        try:
            answer = self._moves(number)[name]()
            if answer is not None:
                list(answer)
        except UsageError:
            assert self.visible == before
        except HermesError:
            pass

    def _moves(self, number: int) -> dict[str, Callable[[], Iterator[Chunk] | None]]:
        session, new = self.session, f"question {next(self.asked)}"
        path = session.recorder.path

        def edit() -> Iterator[Chunk]:
            return session.edit(branches.asked_at(session, 1 + number % 3), new, Cancel())

        def swipe() -> None:
            count, _ = branches.alternatives(session)
            branches.swipe(session, number % count)

        def go() -> None:
            tree = self.store.tree(session.recorder.conversation or 0)
            branches.go_to(session, tree[number % len(tree)].id if tree else 1)

        def resume() -> None:
            found = self.store.conversations()
            if found:
                branches.resume(session, found[number % len(found)])

        def fork() -> None:
            branches.fork(session, "")

        return {
            "send": lambda: session.send(new, Cancel()),
            "regen": lambda: session.again(Cancel()),
            "edit": edit,
            "amend": lambda: session.amend(f"amended {new}"),
            "undo": lambda: branches.undo(session, 1 + number % 2),
            "swipe": swipe,
            "go": go,
            "fork": fork,
            "resume": resume,
            "clear": session.clear,
            "system": lambda: session.set_system(f"system {number}" if path else "s"),
        }

    @property
    def visible(self) -> list[str]:
        """The texts on the screen, from the root of the tree on."""
        return [message.text for message in self.session.conversation.messages[self.session.root :]]

    def check(self) -> None:
        """Check that screen, recorder and store agree, and that no text is stored twice."""
        recorder = self.session.recorder
        if recorder.conversation is None:
            greetings = self.session.opening.greetings
            assert self.visible == list(greetings[recorder.greeting : recorder.greeting + 1])
            return
        kept = self.store.path(recorder.path[-1] if recorder.path else None)
        assert [message.text for message in kept] == self.visible
        assert [message.id for message in kept] == recorder.path
        found = self.store.conversation(recorder.conversation)
        assert found is not None
        assert found.leaf == (recorder.path[-1] if recorder.path else None)
        tree = self.store.tree(found.id)
        said = [message.text for message in tree if message.text]  # empty answers may repeat
        assert len(set(said)) == len(said)
        roots = {message.role for message in tree if message.parent is None}
        assert len(roots) <= 1


MOVES = ("send", "send", "regen", "edit", "amend", "undo", "swipe", "go", "fork", "resume", "clear", "system")
STEPS = st.tuples(st.sampled_from(MOVES), st.sampled_from(WAYS), st.integers(0, 50))


@pytest.mark.parametrize("opening", OPENINGS)
@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_screen_and_disk_say_the_same(opening: str, steps: list[tuple[str, str, int]]) -> None:
    """After every move, whatever fails, the store has the path on the screen, and no text twice."""
    history = History(opening)
    for name, way, number in steps:
        history.move(name, way, number)
        history.check()
    history.store.close()
