"""Ctrl-C in `hermes ask` and `hermes chat` while a server answers, is silent, or encodes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.engines.remote.clients import FAKES
from tests.engines.remote.fakes.http_server import Fault
from tests.engines.remote.fakes.ollama import FakeOllama
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from tests.run_hermes import hermes

Env = Mapping[str, str]
Fake = FakeOpenAI | FakeOllama


@pytest.fixture(params=[*FAKES])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of a server."""
    name: str = request.param
    return name


@pytest.fixture
def fake(kind: str) -> Iterator[Fake]:
    """A running server of that kind."""
    with FAKES[kind]() as running:
        yield running


def started(*arguments: str, env: Env) -> "subprocess.Popen[bytes]":
    """Start hermes in a process of its own, with pipes."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "hermes_cli", *arguments],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **env},
    )


def wait_for(condition: Any) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def saved_texts(env: Env) -> list[str]:
    """Return the texts of the saved conversation."""
    exported = hermes("sessions", "export", "1", "--format", "openai", env=env)
    messages: list[dict[str, str]] = exported.json["messages"]
    return [message["content"] for message in messages if message["role"] != "system"]


@pytest.mark.slow
def test_ctrl_c_during_the_answer_keeps_what_was_said(home: Env, fake: Fake) -> None:
    """The turn and the text so far are saved, and the connection is closed."""
    fake.fault = Fault(between_s=0.02)
    with started("chat", "-m", fake.url, env=home) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Tell me a story.\n")
        process.stdin.flush()
        assert process.stdout.read(4) == b"Once"
        process.send_signal(signal.SIGINT)
        code = process.wait(10)
        rest, errors = process.communicate()
    assert code == 130
    assert b"Traceback" not in errors
    wait_for(lambda: fake.closed_early)
    question, answer = saved_texts(home)
    assert question == "Tell me a story."
    assert answer.startswith("Once")
    assert (b"Once" + rest).decode().strip() in answer + "\n"


@pytest.mark.slow
def test_ctrl_c_during_the_wait_keeps_the_message(home: Env, fake: Fake, kind: str) -> None:
    """The message was saved before the answer was requested."""
    answer_path = {"llama-server": "/completion", "vllm": "/v1/completions", "ollama": "/api/chat"}
    path = answer_path.get(kind, "/v1/chat/completions")
    fake.fault = Fault(before_s=60, path=path)
    with started("chat", "-m", fake.url, env=home) as process:
        assert process.stdin is not None
        process.stdin.write(b"Tell me a story.\n")
        process.stdin.flush()
        wait_for(lambda: path in fake.paths())
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        assert process.wait(10) == 130
        assert time.monotonic() - begin < 5
        assert b"Traceback" not in process.communicate()[1]
    assert saved_texts(home) == ["Tell me a story."]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama-server", "vllm"])
def test_ctrl_c_ends_ask_while_the_server_encodes_the_prompt(home: Env, kind: str, fake: Fake) -> None:
    """The exit code is that of Ctrl-C."""
    del kind
    fake.fault = Fault(before_s=60, path="/tokenize", text="Tell me a story.")
    with started("ask", "-m", fake.url, "Tell me a story.", env=home) as process:
        assert process.stdin is not None
        process.stdin.close()
        wait_for(lambda: fake.requests and "Tell me a story." in str(fake.requests[-1].body))
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - begin < 5
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    wait_for(lambda: fake.closed_early)
