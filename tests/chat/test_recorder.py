"""Tests of the contents of the store during an exchange."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.errors import ContextOverflow, HermesError, StoreError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.store.locks import LOCKS_FOLDER, ConversationLocks
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState
from tests.database import OpenStore, chain

SYSTEM = Message(Role.SYSTEM, "Be brief.")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path / "conversations.db")
    yield opened
    opened.close()


def new_session(store: Store, *turns: ScriptedTurn | str, greetings: tuple[str, ...] = ()) -> Session:
    """Return a session that is recorded in the store."""
    engine = ScriptedEngine(turns, 400)
    return Session(
        engine,
        [Member(opening=Opening.behind((SYSTEM,), greetings))],
        LayeredOptions(GenerationOptions()),
        Recorder(store),
    )


def send(session: Session, text: str) -> None:
    """Send a turn and read the whole answer."""
    for _ in session.send(text, Cancel()):
        pass


def stored_turns(store: Store) -> list[tuple[str, str, str]]:
    """Return role, text and state of the visible turns of the last conversation."""
    (last, *_) = store.conversations()
    return [(m.role.value, m.text, m.state.value) for m in store.path(last.leaf)]


def test_the_users_turn_is_stored_before_the_answer(store: Store) -> None:
    """At the first piece of the answer, the question and that piece are in the store."""
    stream = new_session(store, "Hello").send("Hi", Cancel())
    first = next(stream)
    assert stored_turns(store) == [("user", "Hi", "complete"), ("assistant", first.text, "partial")]


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
    send(new_session(store, "word " * 60, ScriptedTurn("x")), "Hi")
    assert store.writes <= time.monotonic() - began
    store.writes, began = 0, time.monotonic()
    slow = ScriptedTurn("tick " * 8, delay=0.05)
    send(new_session(store, slow), "Hi")
    assert 1 <= store.writes <= time.monotonic() - began
    store.close()


def test_an_exchange_is_stored_with_its_generation_record(store: Store) -> None:
    """An exchange is kept with its greeting, opening, model, options, tokens and token ids."""
    session = new_session(store, "Hello", greetings=("Welcome!", "Good day!"))
    send(session, "Hi")
    (conversation,) = store.conversations()
    assert conversation.opening == (SYSTEM,)
    path = store.path(conversation.leaf)
    assert [(m.text, m.state) for m in path] == [
        ("Welcome!", MessageState.COMPLETE),
        ("Hi", MessageState.COMPLETE),
        ("Hello", MessageState.COMPLETE),
    ]
    made = path[-1].generation
    assert (made.model, made.completion_tokens) == ("scripted", 5)
    assert made.options["temperature"] == 0.8
    assert path[-1].message == session.conversation.messages[-1]


def test_a_session_without_a_turn_stores_no_conversation(store: Store) -> None:
    """A session without a turn keeps no conversation, also after `clear` and `restart`."""
    session = new_session(store, "Hello")
    session.clear()
    session.restart([Member(opening=Opening.behind((SYSTEM,)))])
    assert store.conversations() == []


def test_stopped_and_failed_answers_are_stored_with_their_state(store: Store) -> None:
    """A cancelled or dropped answer is kept as stopped, and one with an error as failed."""
    session = new_session(store, ScriptedTurn("abc", forever=True), ScriptedTurn("xy", error="failed"), "z")
    cancel = Cancel()
    for chunk in session.send("1", cancel):
        if chunk.text == "c":
            cancel.set()
    assert stored_turns(store)[-1] == ("assistant", "abc", "stopped")
    with pytest.raises(HermesError):
        send(session, "2")
    assert stored_turns(store)[-1] == ("assistant", "xy", "failed")
    dropped = session.send("3", Cancel())
    next(dropped)
    dropped.close()  # type: ignore[attr-defined]
    assert stored_turns(store)[-1] == ("assistant", "z", "stopped")


def test_a_turn_without_an_answer_is_not_on_the_visible_path(store: Store) -> None:
    """A turn without an answer is not on the visible path, and a cancelled one is still in the tree."""
    session = new_session(store, "Hello", "Again")
    send(session, "Hi")
    with pytest.raises(ContextOverflow):
        send(session, "long " * 200)
    cancel = Cancel()
    cancel.set()
    list(session.send("stopped at once", cancel))
    assert stored_turns(store) == [("user", "Hi", "complete"), ("assistant", "Hello", "complete")]
    assert any(m.text == "stopped at once" for m in store.tree(store.conversations()[0].id))


def test_a_refused_turn_leaves_nothing_in_the_store(store: Store) -> None:
    """A prompt that does not fit is removed, with its conversation if it was the first turn."""
    session = new_session(store, "Hello", "Again")
    with pytest.raises(ContextOverflow):
        send(session, "long " * 200)
    assert store.conversations() == []
    assert store.search("long") == []
    send(session, "Hi")
    (number,) = (conversation.id for conversation in store.conversations())
    with pytest.raises(ContextOverflow):
        send(session, "long " * 200)
    with pytest.raises(ContextOverflow):
        list(session.edit(1, "long " * 200, Cancel()))
    assert [m.text for m in store.tree(number)] == ["Hi", "Hello"]
    assert stored_turns(store) == [("user", "Hi", "complete"), ("assistant", "Hello", "complete")]
    send(session, "And now?")
    assert [m.text for m in store.tree(number)] == ["Hi", "Hello", "And now?", "Again"]
    assert [node.text for node in session.tree.nodes] == ["Hi", "Hello", "And now?", "Again"]


def test_a_refused_new_answer_keeps_the_turn_and_the_previous_answer(store: Store) -> None:
    """Only a new turn is removed."""
    session = new_session(store, "Hello")
    send(session, "Hi")
    session.set_system("long " * 200)
    with pytest.raises(ContextOverflow):
        list(session.regenerate(Cancel()))
    assert [m.text for m in store.path(store.conversations()[0].leaf)] == ["Hi", "Hello"]


def test_clear_begins_another_conversation(store: Store) -> None:
    """After `clear` the next turn begins another conversation, and the first one is kept."""
    session = new_session(store, "A", "B")
    send(session, "1")
    session.clear()
    send(session, "2")
    assert [store.path(conversation.leaf)[0].text for conversation in store.conversations()] == ["2", "1"]


def test_a_new_system_prompt_replaces_the_stored_opening(store: Store) -> None:
    """A new system prompt replaces the opening of the kept conversation."""
    session = new_session(store, "A")
    send(session, "1")
    session.set_system("Be long.")
    assert store.conversations()[0].opening == (Message(Role.SYSTEM, "Be long."),)


def test_a_store_that_fails_is_reported_once_and_the_chat_works(store: Store) -> None:
    """If the store fails, the failure is reported once and the chat goes on."""
    failures: list[StoreError] = []
    session = new_session(store, "A", "B")
    session.recorder.on_failure = failures.append
    store.close()
    with closing(session.recorder):
        send(session, "1")
        send(session, "2")
        assert [m.text for m in session.conversation][1:] == ["1", "A", "2", "B"]
        assert len(failures) == 1


def test_stopping_after_a_failure_counts_the_messages_on_disk(
    tmp_path: Path, store: Store, open_store: OpenStore
) -> None:
    """The later messages, which are in memory only, are not counted; the part on disk can still be found."""
    failing = open_store(tmp_path / "conversations.db")
    session = new_session(failing, "A", "B", "C")
    send(session, "1")
    failing.close()
    with closing(session.recorder):
        send(session, "2")
        assert len(stored_turns(store)) == 2
        on_disk = session.recorder.left_on_disk
        assert session.stop_saving() == 2
        assert session.recorder.left_on_disk == on_disk == (failing, 1)
        session.clear()
        assert session.stop_saving() == 0


def test_stopping_after_the_first_write_failed_counts_nothing(store: Store) -> None:
    """No message of the conversation is on disk."""
    session = new_session(store, "A")
    store.close()
    with closing(session.recorder):
        send(session, "1")
        assert session.stop_saving() == 0


def test_a_conversation_is_locked_from_its_creation_on(store: Store) -> None:
    """A conversation is locked from its creation until the session leaves it with `clear`."""
    number = store.begin(
        [SYSTEM], "", chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")), lock=True
    )
    assert store.file is not None
    locks = ConversationLocks(store.file.with_name(LOCKS_FOLDER))
    session = new_session(store, "Hello")
    assert not locks.is_free(number)
    conversation = store.conversation(number)
    assert conversation is not None
    saved_conversations.resume(session, conversation)
    assert not locks.is_free(number)
    session.clear()
    assert locks.is_free(number)
