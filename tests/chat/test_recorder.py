"""Tests of what is in the store during an exchange."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.errors import ContextOverflow, HermesError, StoreError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, Sourced
from hermes_cli.store.locks import LOCKS_FOLDER, ConversationLocks
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState
from tests.database import chain

SYSTEM = Message(Role.SYSTEM, "Be brief.")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path / "conversations.db")
    yield opened
    opened.close()


def session(store: Store, *turns: ScriptedTurn | str, greetings: tuple[str, ...] = ()) -> Session:
    """Return a session that is kept in the store."""
    engine = ScriptedEngine(turns, 400)
    return Session(
        engine, Opening.behind((SYSTEM,), greetings), Sourced(GenerationOptions()), Recorder(store)
    )


def send(talk: Session, text: str) -> None:
    """Send a turn and read the whole answer."""
    for _ in talk.send(text, Cancel()):
        pass


def kept(store: Store) -> list[tuple[str, str, str]]:
    """Return role, text and state of the visible turns of the last conversation."""
    (last, *_) = store.conversations()
    return [(m.role.value, m.text, m.state.value) for m in store.path(last.leaf)]


def test_the_persons_turn_is_on_the_disk_before_the_answer(store: Store) -> None:
    """At the first piece of the answer, the question and that piece are in the store."""
    stream = session(store, "Hello").send("Hi", Cancel())
    first = next(stream)
    assert kept(store) == [("user", "Hi", "complete"), ("assistant", first.text, "partial")]


class CountingStore(Store):
    """Count how often a growing answer is written."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.writes = 0

    def grow(self, message: int, text: str) -> None:
        self.writes += 1
        super().grow(message, text)


def test_a_growing_answer_is_written_once_a_second(tmp_path: Path) -> None:
    """A growing answer is written at most once a second."""
    store = CountingStore(tmp_path / "conversations.db")
    began = time.monotonic()
    send(session(store, "word " * 60, ScriptedTurn("x")), "Hi")
    assert store.writes <= time.monotonic() - began
    store.writes, began = 0, time.monotonic()
    slow = ScriptedTurn("tick " * 8, delay=0.05)
    send(session(store, slow), "Hi")
    assert 1 <= store.writes <= time.monotonic() - began
    store.close()


def test_an_exchange_is_kept_with_what_it_cost(store: Store) -> None:
    """An exchange is kept with its greeting, opening, model, options, tokens and token ids."""
    talk = session(store, "Hello", greetings=("Welcome!", "Good day!"))
    send(talk, "Hi")
    (found,) = store.conversations()
    assert found.opening == (SYSTEM,)
    path = store.path(found.leaf)
    assert [(m.text, m.state) for m in path] == [
        ("Welcome!", MessageState.COMPLETE),
        ("Hi", MessageState.COMPLETE),
        ("Hello", MessageState.COMPLETE),
    ]
    made = path[-1].generation
    assert (made.model, made.completion_tokens) == ("scripted", 5)
    assert made.options["temperature"] == 0.8
    assert path[-1].message == talk.conversation.messages[-1]


def test_nothing_said_is_nothing_kept(store: Store) -> None:
    """A session without a turn keeps no conversation, also after `clear` and `restart`."""
    talk = session(store, "Hello")
    talk.clear()
    talk.restart(Opening.behind((SYSTEM,)))
    assert store.conversations() == []


def test_a_stopped_and_a_failed_answer_say_so(store: Store) -> None:
    """A cancelled or dropped answer is kept as stopped, and one with an error as failed."""
    talk = session(store, ScriptedTurn("abc", forever=True), ScriptedTurn("xy", error="failed"), "z")
    cancel = Cancel()
    for chunk in talk.send("1", cancel):
        if chunk.text == "c":
            cancel.set()
    assert kept(store)[-1] == ("assistant", "abc", "stopped")
    with pytest.raises(HermesError):
        send(talk, "2")
    assert kept(store)[-1] == ("assistant", "xy", "failed")
    dropped = talk.send("3", Cancel())
    next(dropped)
    dropped.close()  # type: ignore[attr-defined]
    assert kept(store)[-1] == ("assistant", "z", "stopped")


def test_a_turn_that_was_taken_back_is_no_longer_visible_and_still_there(store: Store) -> None:
    """A turn without an answer is not on the visible path, and a cancelled one is still in the tree."""
    talk = session(store, "Hello", "Again")
    send(talk, "Hi")
    with pytest.raises(ContextOverflow):
        send(talk, "long " * 200)
    cancel = Cancel()
    cancel.set()
    list(talk.send("stopped at once", cancel))
    assert kept(store) == [("user", "Hi", "complete"), ("assistant", "Hello", "complete")]
    assert any(m.text == "stopped at once" for m in store.tree(store.conversations()[0].id))


def test_clear_begins_another_conversation(store: Store) -> None:
    """After `clear` the next turn begins another conversation, and the first one is kept."""
    talk = session(store, "A", "B")
    send(talk, "1")
    talk.clear()
    send(talk, "2")
    assert [store.path(one.leaf)[0].text for one in store.conversations()] == ["2", "1"]


def test_the_system_prompt_changes_with_the_session(store: Store) -> None:
    """A new system prompt replaces the opening of the kept conversation."""
    talk = session(store, "A")
    send(talk, "1")
    talk.set_system("Be long.")
    assert store.conversations()[0].opening == (Message(Role.SYSTEM, "Be long."),)


def test_a_store_that_fails_is_told_once_and_the_chat_goes_on(store: Store) -> None:
    """If the store fails, the failure is reported once and the chat goes on."""
    told: list[StoreError] = []
    talk = session(store, "A", "B")
    talk.recorder.on_failure = told.append
    store.close()
    send(talk, "1")
    send(talk, "2")
    assert [m.text for m in talk.conversation][1:] == ["1", "A", "2", "B"]
    assert len(told) == 1


def test_a_claim_is_held_from_the_first_moment_on(store: Store) -> None:
    """A conversation is claimed from its creation until the session leaves it with `clear`."""
    number = store.begin(
        [SYSTEM], "", chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")), claim=True
    )
    assert store.file is not None
    other = ConversationLocks(store.file.with_name(LOCKS_FOLDER))
    talk = session(store, "Hello")
    assert not other.is_free(number)
    found = store.conversation(number)
    assert found is not None
    saved_conversations.resume(talk, found)
    assert not other.is_free(number)
    talk.clear()
    assert other.is_free(number)
