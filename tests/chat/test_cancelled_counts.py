"""A cancel while a server counts tokens leaves the same turns as one before the first token of an answer."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermes_cli.chat.members import Member, together
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, FinishReason, RequestCancelled
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import Persona
from tests.engines.remote.clients import CANCEL_S, FAKES, Fake, OtherModel, opened
from tests.engines.remote.fakes.http_server import Fault
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.waiting_engine import WaitingEngine

CANCEL_AFTER_S = 0.2
SHORT = LayeredOptions(GenerationOptions(max_tokens=12))
SYSTEM = Member(opening=Opening("Be brief."))


@pytest.fixture(params=[FakeModel, OtherModel])
def model(request: pytest.FixtureRequest) -> FakeModel:
    """A model whose prompts hermes makes, and one whose prompts the server makes and counts."""
    made: FakeModel = request.param()
    return made


@pytest.fixture(params=["llama-server", "vllm"])
def fake(request: pytest.FixtureRequest, model: FakeModel) -> Iterator[Fake]:
    """A server that counts tokens."""
    with FAKES[request.param](model) as server:
        yield server


def shown(session: Session) -> list[str]:
    """Return the texts of the visible messages."""
    return [node.text for node in session.tree.path]


def cancel_early(start: Callable[[Cancel], Iterator[Chunk]]) -> None:
    """Start an answer, and cancel it before its first token."""
    cancel = Cancel()
    threading.Timer(CANCEL_AFTER_S, cancel.set).start()
    begin = time.monotonic()
    chunks = list(start(cancel))
    assert CANCEL_AFTER_S * 0.9 < time.monotonic() - begin < CANCEL_AFTER_S + CANCEL_S
    assert [chunk.text for chunk in chunks] == [""]
    assert chunks[0].completion is not None
    assert chunks[0].completion.finish_reason is FinishReason.CANCELLED


def send(session: Session, text: str) -> str:
    """Send a turn and return the answer."""
    return "".join(chunk.text for chunk in session.send(text, Cancel()))


@pytest.fixture
def session(fake: Fake, model: FakeModel) -> Session:
    """A conversation whose server has answered, and does not encode or count other texts."""
    model.answers = ["Fine."]
    made = Session(opened(fake), [SYSTEM], SHORT)
    assert send(made, "How are you?") == "Fine."
    fake.fault = Fault(before_s=60, path="/tokenize")
    return made


def test_a_turn_is_removed_if_the_count_before_its_answer_is_cancelled(session: Session, fake: Fake) -> None:
    """It can be sent again."""
    cancel_early(lambda cancel: session.send("And now?", cancel))
    assert shown(session) == ["How are you?", "Fine."]
    assert session.last is not None
    assert session.last.finish_reason is FinishReason.CANCELLED
    assert session.waiting == []
    fake.fault, fake.model.answers = None, ["Good."]
    assert send(session, "And now?") == "Good."
    assert shown(session) == ["How are you?", "Fine.", "And now?", "Good."]


def test_an_answer_is_restored_if_the_count_is_cancelled(session: Session) -> None:
    """After another answer was requested, and after an edit of the turn."""
    session.set_system("Be very brief.")
    cancel_early(session.regenerate)
    assert shown(session) == ["How are you?", "Fine."]
    cancel_early(lambda cancel: session.edit(1, "Where are you?", cancel))
    assert shown(session) == ["How are you?", "Fine."]
    cancel_early(session.continue_answer)
    assert shown(session) == ["How are you?", "Fine."]


def test_no_draft_is_returned_if_the_count_is_cancelled(session: Session) -> None:
    """The conversation does not change."""
    session.set_system("Be very brief.")
    cancel_early(session.draft_turn)
    assert shown(session) == ["How are you?", "Fine."]


def test_nobody_answers_in_a_group_after_a_cancelled_count(fake: Fake) -> None:
    """Also if a character was asked to talk."""
    members = together(
        [
            Member(
                Persona(name, "", Path(f"{name}.toml")),
                Opening(f"You are {name}."),
                PromptSettings(Macros(name, "Winry")),
            )
            for name in ("Alice", "Bob")
        ]
    )
    fake.model.answers = ["Hello.", "Hello."]
    session = Session(opened(fake), members, SHORT)
    send(session, "Alice and Bob, hello!")
    assert session.waiting == [1]
    fake.fault = Fault(before_s=60, path="/tokenize")
    before = shown(session)
    cancel_early(lambda cancel: session.talk(1, cancel))
    assert (shown(session), session.waiting) == (before, [])


def test_a_cancelled_count_of_a_summary_removes_the_turn() -> None:
    """No summary is made."""
    engine = WaitingEngine(["A" * 200] * 9, lambda messages: any("Condense" in m.text for m in messages[1:]))
    member = Member(prompt_settings=PromptSettings(overflow=Overflow.SUMMARISE))
    session = Session(engine, [member], SHORT)
    send(session, "1" * 200)
    send(session, "2" * 200)
    before = shown(session)
    cancel_early(lambda cancel: session.send("3" * 400, cancel))
    assert (shown(session), session.summaries) == (before, ())


def test_a_cancelled_count_for_the_hint_of_a_long_prompt_removes_the_turn() -> None:
    """The error for a prompt that does not fit counts the texts once more."""
    engine = WaitingEngine([], lambda messages: len(messages) == 1 and len(messages[0].text) > 800)
    session = Session(engine, [SYSTEM], SHORT)
    cancel_early(lambda cancel: session.send("x" * 900, cancel))
    assert shown(session) == []


def test_counts_without_a_cancel_do_not_end_with_an_earlier_one(session: Session, fake: Fake) -> None:
    """The cancel of an answer holds only until it ends."""
    cancel_early(lambda cancel: session.send("And now?", cancel))
    fake.fault = None
    assert session.assembled(Message(Role.USER, "And then?")).tokens > 0


def test_a_cancel_ends_the_count_of_a_prompt_that_is_not_sent(session: Session) -> None:
    """As that of the toolbar."""
    with pytest.raises(RequestCancelled):
        session.assembled(Message(Role.USER, "And then?"), cancel=Cancel(CANCEL_AFTER_S))
