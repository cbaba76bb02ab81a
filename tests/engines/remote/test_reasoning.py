"""Tests of models that reason, on the fakes of all servers: the engine, the session, the store and --json."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.servers.api import Level
from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.store.store import Store
from tests.database import OpenStore
from tests.engines.remote.clients import FAKES, Fake, OtherModel, opened
from tests.engines.remote.fakes.model import CONTROL, THINK, FakeModel
from tests.run_hermes import hermes

REASONING, TEXT = "Let me see.", "Five."
MARKED = f"<think>{REASONING}</think>\n\n{TEXT}"
FIELDS = {
    "llama-server": "reasoning_content",
    "lmstudio": "reasoning",
    "ollama": "thinking",
    "openai": "reasoning_content",
    "vllm": "reasoning",
}
"""The field of each server's stream. Sources: the documentation of each; that of OpenAI is DeepSeek's."""
WITH_SWITCH = ["llama-server", "ollama", "vllm"]
QUESTION = (Message(Role.USER, "2 + 3?"),)


@pytest.fixture(params=FAKES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn."""
    return str(request.param)


@pytest.fixture
def fake(kind: str) -> Iterator[Fake]:
    """A fake that renders messages and separates the reasoning."""
    with FAKES[kind](OtherModel()) as server:
        server.model.answers, server.model.reasoning = [TEXT], REASONING
        yield server


@pytest.fixture
def marked(kind: str) -> Iterator[Fake]:
    """A fake that sends the reasoning between the marks of the model."""
    with FAKES[kind](OtherModel()) as server:
        server.model.answers = [MARKED]
        yield server


@pytest.fixture(params=["llama-server", "vllm"])
def exact(request: pytest.FixtureRequest) -> Iterator[Fake]:
    """A fake at level 1, whose model has control tokens for its reasoning."""
    model = FakeModel(answers=[MARKED], control=CONTROL | THINK)
    with FAKES[request.param](model) as server:
        yield server


def session_of(fake: Fake, store: Store | None = None, budget: int | None = None) -> Session:
    """Return a session with the model of a fake."""
    layered = LayeredOptions(GenerationOptions(thinking_budget=budget))
    return Session(opened(fake), [Member()], layered, Recorder(store))


def send(session: Session, text: str = "2 + 3?") -> tuple[str, str]:
    """Send a turn, and return the reasoning and the text of the answer."""
    chunks = list(session.send(text, Cancel()))
    return "".join(chunk.reasoning for chunk in chunks), "".join(chunk.text for chunk in chunks)


def ask(fake: Fake, home: Mapping[str, str], *flags: str) -> tuple[int, str, str]:
    """Run `hermes ask`, and return its exit code and outputs."""
    done = hermes("ask", "-m", f"{fake.url}:{fake.model.name}", *flags, "2 + 3?", env=home)
    return done.code, done.stdout.decode(), done.stderr


def body_of(fake: Fake) -> dict[str, Any]:
    """Return the last request; nothing is asked after an answer."""
    body: dict[str, Any] = fake.requests[-1].body
    return body


def test_reasoning_in_a_field_is_not_text(fake: Fake, kind: str) -> None:
    """The field is that of the server's documentation."""
    assert FIELDS[kind] == ("thinking" if kind == "ollama" else getattr(fake, "reasoning_field", ""))
    session = session_of(fake)
    assert send(session) == (REASONING, TEXT)
    assert session.last is not None
    assert session.last.usage.reasoning_tokens > 0


def test_marked_reasoning_is_not_text(marked: Fake) -> None:
    """The text begins after the blank line that follows the reasoning."""
    assert send(session_of(marked)) == (REASONING, TEXT)


def test_reasoning_is_stored_and_not_sent_again(fake: Fake, tmp_path: Path, open_store: OpenStore) -> None:
    """The store has it beside the answer."""
    path = tmp_path / "conversations.db"
    session = session_of(fake, open_store(path))
    send(session)
    node = open_store(path).tree(1)[-1]
    assert (node.text, node.generation.reasoning) == (TEXT, REASONING)
    send(session, "Sure?")
    assert TEXT in json.dumps(body_of(fake))
    assert REASONING not in json.dumps(body_of(fake))


def test_json_has_the_reasoning(fake: Fake, home: Mapping[str, str]) -> None:
    """`hermes ask --json` prints it beside the text."""
    code, output, errors = ask(fake, home, "--json")
    assert (code, errors) == (0, "")
    printed = json.loads(output)
    assert (printed["text"], printed["reasoning"]) == (TEXT, REASONING)


def test_text_output_has_no_reasoning(fake: Fake, home: Mapping[str, str]) -> None:
    """With `--thinking show`, it is on standard error."""
    assert ask(fake, home) == (0, f"{TEXT}\n", "")
    fake.model.answers = [TEXT]
    code, output, errors = ask(fake, home, "--thinking", "show")
    assert (code, output) == (0, f"{TEXT}\n")
    assert REASONING in errors


@pytest.mark.parametrize("kind", WITH_SWITCH)
def test_thinking_off_is_sent(fake: Fake, kind: str, home: Mapping[str, str]) -> None:
    """The server gets its own switch, and the model does not reason."""
    code, output, errors = ask(fake, home, "--thinking", "off", "--json")
    assert (code, errors) == (0, "")
    assert (json.loads(output)["text"], json.loads(output)["reasoning"]) == (TEXT, "")
    switch = {"think": False} if kind == "ollama" else {"chat_template_kwargs": {"enable_thinking": False}}
    assert {name: body_of(fake).get(name) for name in switch} == switch
    assert body_of(fake)["messages"][-1]["role"] == "user"


@pytest.mark.parametrize("kind", ["lmstudio", "openai"])
def test_thinking_off_is_refused_without_a_switch(fake: Fake, home: Mapping[str, str], kind: str) -> None:
    """The server's API has none. Nothing is generated."""
    del kind
    code, output, errors = ask(fake, home, "--thinking", "off")
    assert (code, output) == (2, "")
    assert "cannot keep a model from reasoning" in errors
    assert fake.model.answers == [TEXT]


def test_a_budget_is_refused_where_the_server_renders(fake: Fake, home: Mapping[str, str]) -> None:
    """The reasoning cannot be ended there."""
    code, output, errors = ask(fake, home, "--thinking-budget", "5")
    assert (code, output) == (2, "")
    assert "does not support --thinking-budget" in errors
    assert fake.model.answers == [TEXT]


def test_marks_that_are_control_tokens_separate_the_reasoning(exact: Fake) -> None:
    """At level 1, the ids of the answer are those without its reasoning."""
    session = session_of(exact)
    assert session.engine.level is Level.TOKEN_IDS  # type: ignore[attr-defined]
    assert send(session) == (REASONING, TEXT)
    turn_ids = session.tree.path[-1].generation.turn_ids
    assert turn_ids is not None
    assert list(turn_ids.ids) == exact.model.encode(f"assistant\n{TEXT}")
    assert session.last is not None
    assert session.last.usage.reasoning_tokens == len(REASONING) + len(["</think>"])


def test_a_budget_of_zero_begins_the_answer_after_an_empty_reasoning(exact: Fake) -> None:
    """The prompt ends with the marks of an empty reasoning, as the family's chat template writes them."""
    exact.model.answers = [TEXT]
    assert send(session_of(exact, budget=0)) == ("", TEXT)
    prompt = exact.model.encode("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert exact.requests[-1].body["prompt"][-len(prompt) :] == prompt


def test_a_budget_ends_the_reasoning(exact: Fake) -> None:
    """The second request continues behind the closing mark. The text of both is one answer."""
    exact.model.answers = [MARKED, TEXT]
    session = session_of(exact, budget=6)
    assert send(session) == (REASONING[:6], TEXT)
    first, second = (r.body["prompt"] for r in exact.requests if "completion" in r.path)
    assert second == [*first, *exact.model.encode(f"<think>{REASONING[:6]}</think>\n\n")]
    assert session.tree.path[-1].text == TEXT
    assert session.tree.path[-1].generation.reasoning == REASONING[:6]
    assert session.last is not None
    usage = session.last.usage
    assert usage.reasoning_tokens == 6
    assert usage.prompt_tokens == len(first)
    assert usage.cached_tokens == 0
    assert usage.completion_tokens == len(second) - len(first) + len(TEXT) + len(["<|im_end|>"])


def test_a_summary_does_not_need_the_switch(fake: Fake) -> None:
    """A message that excludes the reasoning is not sent to a server that has no switch."""
    engine = opened(fake)
    messages = (*QUESTION, Message(Role.ASSISTANT, "", reasoning=""))
    text = "".join(chunk.text for chunk in engine.stream(messages, GenerationOptions(), Cancel()))
    assert text == TEXT
    assert [message["role"] for message in body_of(fake)["messages"]] == ["user"]


def test_ban_is_refused(fake: Fake) -> None:
    """No server has it."""
    with pytest.raises(UsageError, match="ban"):
        opened(fake).stream(QUESTION, GenerationOptions(ban=("a",)), Cancel())
