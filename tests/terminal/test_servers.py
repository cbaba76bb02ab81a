"""`hermes chat` with a model on a server, on a pty: the choice of a model, and a server that is down."""

from collections.abc import Mapping

import pytest

from tests.engines.remote.fakes.http_server import Fault
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.remote.fakes.ollama import FakeOllama
from tests.engines.remote.fakes.vllm import FakeVLLM
from tests.terminal.screen import PROMPT, Terminal

Env = Mapping[str, str]

pytestmark = pytest.mark.slow


def test_the_user_chooses_one_of_several_models(home: Env) -> None:
    """The list marks the loaded one, and the chat begins with the chosen one."""
    with FakeOllama() as fake:
        fake.others, fake.is_loaded = [fake.model.name], True
        fake.model.name, fake.model.answers = "hermes:7b", ["Hello."]
        with Terminal(["chat", "-m", fake.url], home) as term:
            term.expect(r"Ollama has several models:\n  1  hermes:7b\s+loaded\n  2  openhermes:latest")
            term.expect(r"1 to 2 \[1\]:")
            term.type("1\r")
            term.expect(PROMPT)
            term.expect(r"hermes:7b · http://127\.0\.0\.1:\d+")
            term.type("Hi\r")
            term.expect(r"^Hello\.$")
            term.expect("Ollama makes the prompts, so text could forge a turn there")
            term.type("\x04")
            assert term.leave() == 0


def test_a_first_message_is_not_lost_while_the_server_is_down(home: Env) -> None:
    """It is put back at the prompt, and sent when the server answers again."""
    down = Fault(raw=b"")
    with (
        FakeVLLM(FakeModel(answers=["Hello."]), fault=down) as fake,
        Terminal(["chat", "-m", f"{fake.url}:hermes", "Who are you?"], home) as term,
    ):
        term.expect("check the address, and that the server is running")
        term.expect(r"^> Who are you\?$")
        term.expect("no server; a message tries again")
        down.times = 0
        term.type("\r")
        term.expect(r"^Hello\.$")
        term.type("\x04")
        assert term.leave() == 0
