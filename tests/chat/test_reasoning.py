"""Tests of sessions with a model that reasons: the reasoning is stored, and left out of later prompts."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedTurn
from hermes_cli.formats import json_tree, sillytavern
from hermes_cli.formats.transcript import Transcript
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState
from tests.chat.asked import AskedEngine
from tests.database import OpenStore

REASONED = "<think>Let me see.</think>\n\nFive."


def session_of(*turns: ScriptedTurn | str, store: Store | None = None, **options: object) -> Session:
    """Return a session with a script."""
    layered = LayeredOptions(replace(GenerationOptions(), **options))  # type: ignore[arg-type]
    return Session(AskedEngine(turns), [Member(opening=Opening("Be brief."))], layered, Recorder(store))


def send(session: Session, text: str = "2 + 3?", prefill: str = "") -> tuple[str, str]:
    """Send a turn, and return the reasoning and the text of the answer."""
    chunks = list(session.send(text, Cancel(), prefill))
    return "".join(chunk.reasoning for chunk in chunks), "".join(chunk.text for chunk in chunks)


def asked(session: Session) -> Sequence[Sequence[Message]]:
    """Return the messages of each request."""
    assert isinstance(session.engine, AskedEngine)
    return session.engine.asked


def test_reasoning_is_kept_beside_the_answer() -> None:
    """The message has it, and its ids are those of the answer alone."""
    session = session_of(REASONED, "Yes.")
    assert send(session) == ("Let me see.", "Five.")
    node = session.tree.path[-1]
    assert (node.text, node.generation.reasoning, session.reasoning) == (
        "Five.",
        "Let me see.",
        "Let me see.",
    )
    turn_ids = node.generation.turn_ids
    assert turn_ids is not None
    plain = session_of("Five.")
    send(plain)
    assert turn_ids == plain.tree.path[-1].generation.turn_ids
    send(session, "Sure?")
    assert session.reasoning == ""
    assert asked(session)[1][2].reasoning == "Let me see."
    prompt = "".join(token.text for token in session.engine.prompt_tokens(asked(session)[1]))
    assert "Five." in prompt
    assert "Let me" not in prompt


def test_a_continued_answer_keeps_its_reasoning() -> None:
    """No new reasoning begins in the middle of an answer."""
    session = session_of("<think>So.</think>Five", " and <think>six</think>")
    send(session)
    assert "".join(chunk.text for chunk in session.continue_answer(Cancel())) == " and <think>six</think>"
    node = session.tree.path[-1]
    assert (node.text, node.generation.reasoning) == ("Five and <think>six</think>", "So.")


def test_a_prefilled_answer_is_not_reasoning() -> None:
    """The answer begins with the prefill, so `<think>` after it is text."""
    assert send(session_of("<think>a"), prefill="So ") == ("", "<think>a")


def test_stop_strings_do_not_apply_to_reasoning() -> None:
    """They end only the answer."""
    session = session_of("<think>a stop b</think>Five stop six", stop=("stop",))
    assert send(session) == ("a stop b", "Five ")


def test_an_answer_stopped_while_it_reasons_is_not_kept() -> None:
    """The user's turn can be sent again; the reasoning can still be shown."""
    session, cancel = session_of(ScriptedTurn("<think>on and on ", forever=True)), Cancel()
    for chunk in session.send("2 + 3?", cancel):
        if "and" in session.reasoning and chunk.reasoning:
            cancel.set()
    assert session.tree.path == ()
    assert session.reasoning.startswith("on and")


def test_reasoning_without_an_answer_is_kept_at_the_limit() -> None:
    """The answer is empty; what the model reasoned is not lost."""
    session = session_of("<think>on and on", max_tokens=12)
    send(session)
    node = session.tree.path[-1]
    assert (node.text, node.generation.reasoning) == ("", "on an")
    assert session.cut_short == "max_tokens is 12"


def test_a_budget_of_zero_excludes_reasoning() -> None:
    """The prompt ends with an answer that has an empty reasoning; a summary is made in the same way."""
    session = session_of("Five.", thinking_budget=0)
    send(session)
    last = asked(session)[0][-1]
    assert (last.role, last.text, last.reasoning) == (Role.ASSISTANT, "", "")
    assert session.next_prompt().messages[-1].reasoning == ""
    plain = session_of("Five.")
    send(plain)
    assert asked(plain)[0][-1].role is Role.USER


def test_a_budget_ends_the_reasoning() -> None:
    """The model is made to answer, and what it writes then is the answer."""
    session = session_of("<think>abcdef</think>Five.", thinking_budget=3)
    assert send(session) == ("abc", "def</think>Five.")
    assert session.last is not None
    assert session.last.usage.reasoning_tokens == 3
    assert send(session_of("<think>ab<cd", thinking_budget=3)) == ("ab<", "cd")


def test_reasoning_is_stored(tmp_path: Path, open_store: OpenStore) -> None:
    """It is in the database while the answer is written, and at its end."""
    path = tmp_path / "conversations.db"
    store = open_store(path)
    session = session_of(REASONED, store=store)
    growing = [store.tree(1)[-1] for chunk in session.send("2 + 3?", Cancel()) if chunk.text]
    assert (growing[0].state, growing[0].generation.reasoning) == (MessageState.PARTIAL, "Let me see.")
    node = open_store(path).tree(1)[-1]
    assert (node.text, node.state) == ("Five.", MessageState.COMPLETE)
    assert node.generation.reasoning == "Let me see."


def transcript_of(store: Store, *turns: str) -> Transcript:
    """Return a stored conversation with an answer to one question."""
    send(session_of(*turns, store=store))
    stored = store.conversation(1)
    assert stored is not None
    return Transcript.of(stored, store.tree(1))


def test_reasoning_is_exported_as_json(open_store: OpenStore) -> None:
    """In a file of an earlier version, the key is missing."""
    text = json_tree.write([transcript_of(open_store(), REASONED)])
    (back,) = json_tree.read(text)
    assert back.tree.path[-1].generation.reasoning == "Let me see."
    (earlier,) = json_tree.read(re.sub(r', *"reasoning": "Let me see."', "", text))
    assert earlier.tree.path[-1].generation.reasoning == ""


def test_reasoning_is_exported_to_sillytavern(open_store: OpenStore) -> None:
    """It is where SillyTavern has it, in `extra.reasoning` of each swipe."""
    text = sillytavern.write(transcript_of(open_store(), REASONED))
    answer = json.loads(text.splitlines()[-1])
    assert answer["extra"]["reasoning"] == answer["swipe_info"][0]["extra"]["reasoning"] == "Let me see."
    (back,) = sillytavern.read(text)
    assert back.tree.path[-1].generation.reasoning == "Let me see."
