"""What a session keeps of an exchange, however it ends."""

import pytest

from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, FinishReason
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.errors import ContextOverflow, HermesError
from hermes_cli.messages import Conversation, Role
from hermes_cli.options import GenerationOptions, Sourced

SYSTEM = Conversation().with_system("Be brief.")


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
    """The next turn would not know the last one."""
    talk = session("One.", "Two.")
    assert (send(talk, "1?"), send(talk, "2?")) == ("One.", "Two.")
    assert said(talk) == [("user", "1?"), ("assistant", "One."), ("user", "2?"), ("assistant", "Two.")]


def test_a_stopped_answer_is_kept_as_far_as_it_came() -> None:
    """After Ctrl-C the model would not know what it has said."""
    talk, cancel = session(ScriptedTurn("abcdef", forever=True)), Cancel()
    for chunk in talk.send("Go", cancel):
        if chunk.text == "c":
            cancel.set()
    assert said(talk) == [("user", "Go"), ("assistant", "abc")]
    assert talk.last is not None
    assert talk.last.finish_reason is FinishReason.CANCELLED


def test_a_turn_stopped_before_its_answer_is_taken_back() -> None:
    """Two user turns would follow each other, which no model was trained on."""
    talk, cancel = session("Hello"), Cancel()
    cancel.set()
    list(talk.send("Go", cancel))
    assert said(talk) == []


def test_an_answer_that_fails_midway_is_kept() -> None:
    """A reply that the user has read would be gone."""
    talk = session(ScriptedTurn("So far", error="failed"), "Fine.")
    with pytest.raises(HermesError):
        send(talk, "Go")
    assert said(talk) == [("user", "Go"), ("assistant", "So far")]
    assert send(talk, "Again") == "Fine."


def test_an_answer_whose_reader_went_away_is_kept() -> None:
    """Closing the iterator would lose the turn."""
    talk = session("Hello")
    stream = talk.send("Go", Cancel())
    assert next(stream).text == "H"
    stream.close()  # type: ignore[attr-defined]
    assert said(talk) == [("user", "Go"), ("assistant", "H")]


@pytest.mark.parametrize("prefill", ["", "Well, "])
def test_a_prompt_that_does_not_fit_changes_nothing(prefill: str) -> None:
    """One long paste would end the conversation, as each later prompt would hold it."""
    talk = session("Fine.")
    with pytest.raises(ContextOverflow):
        send(talk, "x" * 500, prefill)
    assert said(talk) == []
    assert send(talk, "Go") == "Fine."


def test_a_prefill_is_part_of_the_reply() -> None:
    """The next turn would see an answer without its beginning."""
    talk = session("world")
    assert send(talk, "Go", "Hello ") == "world"
    assert said(talk)[-1] == ("assistant", "Hello world")


def test_clear_goes_back_to_the_opening() -> None:
    """`/clear` would lose the persona, or keep the talk."""
    talk = session("One.")
    send(talk, "1?")
    talk.clear()
    assert talk.conversation == SYSTEM


def test_a_new_system_prompt_keeps_the_turns() -> None:
    """`/system` would end the conversation."""
    talk = session("One.")
    send(talk, "1?")
    talk.set_system("Be long.")
    assert talk.conversation.system == "Be long."
    assert len(said(talk)) == 2
    talk.set_system(None)
    talk.clear()
    assert talk.conversation == Conversation()
