"""Tests of what a session keeps of an exchange, however it ends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, FinishReason
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.errors import ContextOverflow, HermesError, UsageError
from hermes_cli.messages import Conversation, Message, Opening, Role, TurnIds
from hermes_cli.options import GenerationOptions, Sourced
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState
from tests.database import OpenStore

SYSTEM = Opening("Be brief.")


def session(
    *turns: ScriptedTurn | str, context_size: int = 400, options: GenerationOptions | None = None
) -> Session:
    """Return a session with a script."""
    engine = ScriptedEngine(turns, context_size)
    return Session(engine, SYSTEM, Sourced(options or GenerationOptions()))


def send(talk: Session, text: str, prefill: str = "") -> str:
    """Send a turn and return the answer."""
    return "".join(chunk.text for chunk in talk.send(text, Cancel(), prefill))


def said(talk: Session) -> list[tuple[str, str]]:
    """Return the turns after the system prompt."""
    return [(m.role.value, m.text) for m in talk.conversation if m.role is not Role.SYSTEM]


def test_both_turns_are_kept() -> None:
    """The questions and the answers of two exchanges are kept in order."""
    talk = session("One.", "Two.")
    assert (send(talk, "1?"), send(talk, "2?")) == ("One.", "Two.")
    assert said(talk) == [("user", "1?"), ("assistant", "One."), ("user", "2?"), ("assistant", "Two.")]


def test_a_stopped_answer_is_kept_as_far_as_it_came() -> None:
    """A cancelled answer is kept up to the cancel, with the finish reason CANCELLED."""
    talk, cancel = session(ScriptedTurn("abcdef", forever=True)), Cancel()
    for chunk in talk.send("Go", cancel):
        if chunk.text == "c":
            cancel.set()
    assert said(talk) == [("user", "Go"), ("assistant", "abc")]
    assert talk.last is not None
    assert talk.last.finish_reason is FinishReason.CANCELLED


def test_a_turn_stopped_before_its_answer_is_taken_back() -> None:
    """A turn that is cancelled before its answer is removed."""
    talk, cancel = session("Hello"), Cancel()
    cancel.set()
    list(talk.send("Go", cancel))
    assert said(talk) == []


def test_an_answer_that_fails_midway_is_kept() -> None:
    """An answer that fails midway is kept up to the error, and the session can go on."""
    talk = session(ScriptedTurn("So far", error="failed"), "Fine.")
    with pytest.raises(HermesError):
        send(talk, "Go")
    assert said(talk) == [("user", "Go"), ("assistant", "So far")]
    assert send(talk, "Again") == "Fine."


def test_an_answer_whose_reader_went_away_is_kept() -> None:
    """If the iterator is closed early, the turn and the text so far are kept."""
    talk = session("Hello")
    stream = talk.send("Go", Cancel())
    assert next(stream).text == "H"
    stream.close()  # type: ignore[attr-defined]
    assert said(talk) == [("user", "Go"), ("assistant", "H")]


@pytest.mark.parametrize("prefill", ["", "Well, "])
def test_a_prompt_that_does_not_fit_changes_nothing(prefill: str) -> None:
    """A prompt that does not fit is refused, and the conversation is unchanged."""
    talk = session("Fine.")
    with pytest.raises(ContextOverflow):
        send(talk, "x" * 500, prefill)
    assert said(talk) == []
    assert send(talk, "Go") == "Fine."


def test_a_prefill_is_part_of_the_reply() -> None:
    """A prefill is kept as the beginning of the answer."""
    talk = session("world")
    assert send(talk, "Go", "Hello ") == "world"
    assert said(talk)[-1] == ("assistant", "Hello world")


def test_clear_goes_back_to_the_opening() -> None:
    """`clear` returns to the opening."""
    talk = session("One.")
    send(talk, "1?")
    talk.clear()
    assert talk.conversation == SYSTEM.conversation()


def test_a_new_system_prompt_keeps_the_turns() -> None:
    """A new system prompt keeps the turns, and `clear` then returns to that system prompt."""
    talk = session("One.")
    send(talk, "1?")
    talk.set_system("Be long.")
    assert talk.conversation.system == "Be long."
    assert len(said(talk)) == 2
    talk.set_system(None)
    talk.clear()
    assert talk.conversation == Conversation()


class Prompted(ScriptedEngine):
    """Record the ids of every prompt."""

    def __init__(self, turns: Sequence[ScriptedTurn | str]) -> None:
        super().__init__(turns, 400)
        self.prompts: list[tuple[int, ...]] = []

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        self.prompts.append(tuple(token.id for token in self.prompt_tokens(messages)))
        return super().stream(messages, options, cancel)


KeptSession = Callable[..., tuple[Session, Store, Prompted]]


@pytest.fixture
def kept_session(open_store: OpenStore) -> KeptSession:
    """Make a session with a script; return it, the store that keeps it, and its engine."""

    def make(*turns: ScriptedTurn | str) -> tuple[Session, Store, Prompted]:
        store, engine = open_store(), Prompted(turns)
        return Session(engine, SYSTEM, Sourced(), Recorder(store)), store, engine

    return make


def go_on(talk: Session) -> str:
    """Continue the last answer and return the new text."""
    return "".join(chunk.text for chunk in talk.continue_answer(Cancel()))


def tree(store: Store) -> list[tuple[int | None, str, MessageState]]:
    """Return parent, text and state of every message, oldest first."""
    (conversation,) = store.conversations()
    return [(one.parent, one.text, one.state) for one in store.tree(conversation.id)]


def test_an_answer_goes_on_behind_the_ids_it_was_made_of(kept_session: KeptSession) -> None:
    """The prompt of a continued answer ends with that answer's recorded ids, and the new ids are added."""
    talk, _, engine = kept_session("world", ".")
    made = TurnIds("scripted", (70, 71, 72))  # other ids than those that "Hello" is encoded to
    talk.tree.append(Message(Role.USER, "Go"))
    talk.tree.append(Message(Role.ASSISTANT, "Hello ", made))
    assert (go_on(talk), go_on(talk)) == ("world", ".")
    assert engine.prompts[0][-3:] == made.ids
    assert engine.prompts[1][-8:] == (*made.ids, *(ord(letter) + 2 for letter in "world"))
    assert said(talk) == [("user", "Go"), ("assistant", "Hello world.")]
    last = talk.conversation.messages[-1].turn_ids
    assert last is not None
    assert last.ids == (*made.ids, *(ord(letter) + 2 for letter in "world."))


def test_what_went_on_stands_beside_what_was_there(kept_session: KeptSession) -> None:
    """A continued answer is stored as a sibling of the shorter one, and the conversation goes on from it."""
    talk, store, _ = kept_session("One.", " Two.", "Yes.")
    send(talk, "Go")
    assert go_on(talk) == " Two."
    done = MessageState.COMPLETE
    assert tree(store) == [(None, "Go", done), (1, "One.", done), (1, "One. Two.", done)]
    assert [node.id for node in talk.tree.path] == [1, 3]
    send(talk, "And?")
    assert [one.text for one in store.path(store.conversations()[0].leaf)] == [
        "Go",
        "One. Two.",
        "And?",
        "Yes.",
    ]


@pytest.mark.parametrize(
    "turn", [ScriptedTurn(""), ScriptedTurn("", error="failed"), ScriptedTurn("never", prefill=60)]
)
def test_where_nothing_is_new_the_answer_stands_as_it_was(
    turn: ScriptedTurn, kept_session: KeptSession
) -> None:
    """A continuation that is empty, fails or is cancelled changes neither the conversation nor the store."""
    talk, store, _ = kept_session("One.", turn, "Two.")
    send(talk, "Go")
    before, path = talk.conversation, talk.tree.path
    cancel = Cancel()
    if turn.text:
        cancel.set()
    try:
        list(talk.continue_answer(cancel))
    except HermesError:
        assert turn.error
    assert talk.conversation == before
    assert talk.tree.path == path
    assert [text for _, text, _ in tree(store)] == ["Go", "One."]
    send(talk, "And?")
    assert said(talk)[1:] == [("assistant", "One."), ("user", "And?"), ("assistant", "Two.")]


def test_where_the_window_is_full_the_answer_stands_as_it_was(kept_session: KeptSession) -> None:
    """A continuation that does not fit into the window is refused and changes nothing."""
    talk, store, _ = kept_session(ScriptedTurn("x", forever=True), "never")
    send(talk, "Go")
    before = talk.conversation
    with pytest.raises(ContextOverflow):
        go_on(talk)
    assert talk.conversation == before
    assert len(tree(store)) == 2


def test_an_answer_that_is_stopped_while_it_goes_on_is_kept_as_far_as_it_came(
    kept_session: KeptSession,
) -> None:
    """A continuation that is stopped is kept up to that point, on the screen and in the store."""
    talk, store, _ = kept_session("One.", ScriptedTurn(" Two."))
    send(talk, "Go")
    stream = talk.continue_answer(Cancel())
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert said(talk)[-1] == ("assistant", "One. T")
    assert tree(store)[1:] == [(1, "One.", MessageState.COMPLETE), (1, "One. T", MessageState.STOPPED)]


def test_only_an_answer_can_go_on(kept_session: KeptSession) -> None:
    """Without an answer, or after a greeting or a user turn, `go_on` is refused with a UsageError."""
    talk, _, _ = kept_session("never")
    with pytest.raises(UsageError, match="no answer here yet"):
        go_on(talk)
    talk.restart(replace(SYSTEM, greetings=("Welcome!",)))
    with pytest.raises(UsageError, match="no answer here yet"):
        go_on(talk)
    talk.restart(SYSTEM)
    talk.tree.append(Message(Role.USER, "unanswered"))
    with pytest.raises(UsageError, match="no answer here yet"):
        go_on(talk)
