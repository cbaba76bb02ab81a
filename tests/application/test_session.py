"""Which messages a session marks as cacheable (a persona's own prompt and examples only), and its stores."""

import io
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cli.application.chat import ReplHost
from hermes_cli.application.flags import Flags
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.session import open_members, start_session
from hermes_cli.chat import saved_conversations
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Role
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.screen.terminal import Terminal
from hermes_cli.untrusted.deadline import Deadline
from tests.database import OpenStore
from tests.run_hermes import script

Env = Mapping[str, str]
QUESTION = Message(Role.USER, "hi")
EXCHANGES = 3
"""The number of example exchanges of Edward Elric."""


@pytest.fixture
def runtime(home: Env) -> Iterator[Runtime]:
    """A run in a pipe."""
    opened = Runtime(Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), False, False, False), home)  # noqa: FBT003 - see tests/run_hermes.py
    with opened.at_exit:
        yield opened


@pytest.fixture
def session(runtime: Runtime, open_store: OpenStore) -> Iterator[Session]:
    """A session with a persona, without flags."""
    members = open_members(
        runtime, Flags(), [runtime.persona("edward-elric")], GenerationOptions(), Deadline()
    )
    with closing(Recorder(open_store())) as recorder:
        yield Session(ScriptedEngine(["One.", "Two."]), members, LayeredOptions(), recorder)


def cacheable(session: Session) -> list[str]:
    """Return the roles of the messages of the next prompt whose KV cache may be saved."""
    return [message.role.value for message in session.assembled(QUESTION).messages if message.cacheable]


def test_a_personas_own_prompt_is_cacheable(session: Session) -> None:
    """No other message is cacheable, also in a new conversation. Edward Elric has an example exchange."""
    own = ["system", *(["user", "assistant"] * EXCHANGES)]
    assert cacheable(session) == own
    assert list(session.send("hi", Cancel()))
    session.clear()
    assert cacheable(session) == own


@pytest.mark.parametrize("flags", [Flags(system="Be brief."), Flags(no_log=True)])
def test_no_prompt_is_cacheable_with_system_or_no_log(runtime: Runtime, flags: Flags) -> None:
    """The flags are --system and --no-log."""
    persona = runtime.persona("edward-elric")
    members = open_members(runtime, flags, [persona], GenerationOptions(), Deadline())
    assert not cacheable(Session(ScriptedEngine([]), members, LayeredOptions()))


def test_a_changed_prompt_is_not_cacheable(session: Session) -> None:
    """Nor is the prompt of a new conversation after `/system`."""
    session.set_system("Be brief.")
    assert not cacheable(session)
    session.clear()
    assert not cacheable(session)


def test_a_prompt_with_lore_is_not_cacheable(session: Session) -> None:
    """The lorebook inserts an entry into the system prompt."""
    book = Lorebook((LoreEntry("A secret.", (), constant=True),))
    session.change_settings(books=(book,))
    (system,) = (m for m in session.assembled(QUESTION).messages if "A secret." in m.text)
    assert not system.cacheable


def test_no_prompt_is_cacheable_after_nolog(runtime: Runtime, session: Session) -> None:
    """Nor is the prompt of a new conversation with another persona."""
    host = ReplHost(runtime, Flags(), ModelChoice(SelectedModel("scripted", "")))
    assert host.open_member(runtime.persona("gourmet-cook"))[0].opening.cacheable
    host.stop_saving()
    session.stop_saving()
    assert not cacheable(session)
    session.restart([host.open_member(runtime.persona("gourmet-cook"))[0]])
    assert not cacheable(session)


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_continued_conversation_is_cacheable_if_its_prompt_is_unchanged(
    runtime: Runtime, session: Session, system: str | None
) -> None:
    """The prompt is unchanged if it still is the persona's own."""
    if system is not None:
        session.set_system(system)
    list(session.send("hi", Cancel()))
    store = session.recorder.store
    assert store is not None
    members = open_members(
        runtime, Flags(), [runtime.persona("edward-elric")], GenerationOptions(), Deadline()
    )
    continued = Session(ScriptedEngine([]), members, LayeredOptions(), Recorder(store))
    store.locks.release()
    saved_conversations.resume(continued, store.conversations()[0])
    assert bool(cacheable(continued)) is (system is None)


@pytest.mark.parametrize("personas", [["gourmet-cook"], ["gourmet-cook", "edward-elric"]])
def test_the_engine_of_a_group_keeps_the_kv_caches_of_its_characters(
    runtime: Runtime, tmp_path: Path, personas: list[str]
) -> None:
    """That of a chat with one character does not."""
    session, choice = start_session(runtime, Flags(personas=personas, model=script(tmp_path)), save=False)
    assert choice.is_for_group is (len(personas) > 1)
    assert [member.persona.key for member in session.members] == personas


def test_the_stores_in_memory_are_closed_at_exit(runtime: Runtime, tmp_path: Path) -> None:
    """If the store on disk cannot be opened, there are two of them after `/nolog`."""
    session, _ = start_session(runtime, Flags(model=script(tmp_path)), save=False)
    first = session.recorder.store
    session.stop_saving()
    second = session.recorder.store
    runtime.at_exit.close()
    for store in (first, second):
        assert store is not None
        with pytest.raises(StoreError, match="closed database"):
            store.conversations()
