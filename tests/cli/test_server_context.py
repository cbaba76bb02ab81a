"""The context window of a server in `hermes ask` and `hermes chat`: unknown, smaller, and full."""

import re
from collections.abc import Mapping
from typing import Any

from tests.engines.remote.fakes.lmstudio import FakeLMStudio
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from tests.engines.remote.fakes.vllm import FakeVLLM
from tests.run_hermes import hermes

Env = Mapping[str, str]


def test_an_answer_that_the_servers_own_limit_cuts_is_reported_as_such(home: Env) -> None:
    """The window that hermes knows is far from full."""
    with FakeOpenAI() as fake:
        result = hermes("ask", "-m", f"{fake.url}:hermes", "--loop-guard", "0", "Tell me a story.", env=home)
    assert result.code == 0
    assert re.search(
        "the answer was cut: the server's own limit was reached after [0-9,]+ tokens", result.stderr
    )


def test_another_context_window_keeps_what_estimates_have_learned(home: Env) -> None:
    """In the fake's vocabulary, each character is a token."""
    with FakeOpenAI() as fake:
        fake.model.answers = ["I see."]
        lines = f"{'word ' * 80}\n/context\n/context 1000\n/context\n"
        shown = hermes("chat", "-m", f"{fake.url}:hermes", env=home, stdin=lines.encode()).stderr
    before, after = (row[1] for row in map(str.split, shown.splitlines()) if row[0] == "total")
    assert before == after
    assert int(before) > 400


def test_a_chat_goes_on_in_the_context_window_that_an_error_of_the_server_names(home: Env) -> None:
    """The message is not lost: old turns are left out, and it is sent again."""
    with FakeOpenAI() as fake:
        fake.model.answers = [f"Answer {number}." for number in range(30)]
        lines = "".join(f"Question {number}: {'why? ' * 20}\n" for number in range(30))
        arguments = ["-m", f"{fake.url}:hermes", "--on-overflow", "drop"]
        result = hermes("chat", *arguments, stdin=lines.encode(), env=home)
    assert result.code == 0, result.stderr
    assert result.stdout.decode().splitlines() == [f"Answer {number}." for number in range(30)]
    assert "has a context window of 1,024 tokens; hermes uses it from now on" in result.stderr
    assert "The context is full" in result.stderr


def test_a_context_window_larger_than_the_servers_is_reported(home: Env) -> None:
    """The window of the server is used then."""
    with FakeVLLM(FakeModel(answers=["Hello."])) as fake:
        result = hermes("ask", "-m", fake.url, "--context", "8192", "Hi", env=home)
        assert (result.code, result.stdout) == (0, b"Hello.\n")
        assert "vLLM has a context window of 1,024 tokens, not 8,192" in result.stderr


class Cutting(FakeLMStudio):
    """A server that reports a larger context window than it has."""

    def loaded_entry(self) -> dict[str, Any]:
        return {**super().loaded_entry(), "loaded_context_length": 8192}


def test_a_prompt_that_the_server_cuts_is_reported(home: Env) -> None:
    """After an answer that shows how many tokens the text has."""
    with Cutting(FakeModel(answers=["Hello.", "Yes."])) as fake:
        lines = b"Hi\n" + b"word " * 500 + b"\n"
        result = hermes("chat", "-m", fake.url, env=home, stdin=lines)
    assert result.stdout == b"Hello.\nY\n"  # the cut prompt leaves room for one token
    assert "LM Studio cut the prompt" in result.stderr
    assert "the server read 1,023" in result.stderr
