"""`hermes chat` with a model on a server, on a pty: the choice of a model, servers that are down or hang."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engines.remote.clients import FAKES, Fake, OtherModel
from tests.engines.remote.fakes.http_server import Fault
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.remote.fakes.ollama import FakeOllama
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from tests.engines.remote.fakes.vllm import FakeVLLM
from tests.run_hermes import script
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
            term.type("3\r")
            term.expect(r"there is no '3'\n1 to 2 \[1\]:")
            term.type("her\r")
            term.expect(PROMPT)
            term.expect(r"hermes:7b · http://127\.0\.0\.1:\d+")
            term.type("Hi\r")
            term.expect(r"^Hello\.$")
            term.expect("Ollama makes the prompts, so text could forge a turn there")
            term.type("\x04")
            assert term.leave() == 0


@pytest.mark.parametrize(("key", "code"), [("\x04", 2), ("\x03", 130)])
def test_no_model_is_chosen_by_ctrl_d_or_ctrl_c(home: Env, key: str, code: int) -> None:
    """The error is that of a pipe, or that of Ctrl-C."""
    with FakeOllama() as fake:
        fake.others = ["mistral:7b"]
        with Terminal(["chat", "-m", fake.url], home) as term:
            term.expect(r"1 to 2 \[1\]:")
            term.type(key)
            assert term.leave() == code
            assert (b"^C\r\n" in term.raw) == (code == 130)  # the shell's prompt is in the next row
            assert ("has 2 models: openhermes:latest, mistral:7b" in term.text) == (code == 2)
            assert "/api/chat" not in fake.paths()


def test_a_long_list_of_models_takes_a_name_that_is_not_shown(home: Env) -> None:
    """It says how many models are missing. A beginning that several names have is asked again."""
    with FakeOllama() as fake:
        fake.others = [f"model:{number}" for number in range(200)]
        with Terminal(["models", "plan", fake.url], home, rows=70) as term:
            term.expect(r"and 151 more\n1 to 50, or a name \[1\]:")
            term.type("model:\r")
            term.expect(r"several models begin with 'model:'")
            term.type("model:19\r")
            term.expect("model +model:19$")
            assert term.leave() == 0


def test_what_a_server_reports_is_not_printed_into_the_status_line(home: Env, tmp_path: Path) -> None:
    """Also if `/model` has switched to the server."""
    with FakeOpenAI() as fake, Terminal(["chat", "-m", script(tmp_path, {"text": "Hi."})], home) as term:
        term.expect(PROMPT)
        term.type(f"/model {fake.url}:hermes\r")
        term.expect("Switched to")
        fake.fault = Fault(before_s=1, path="/v1/chat/completions")
        for answer in ("One.", "Two.", "Three."):
            fake.model.answers = [answer] * 2
            term.type(f"{'word ' * 60}\r")
            term.expect(rf"^{re.escape(answer)}$")
            term.expect(PROMPT)
        term.expect("^the OpenAI API has a context window of 1,024 tokens")


def test_a_key_that_is_not_sent_is_the_error_at_a_terminal(home: Env) -> None:
    """Although the server's models are asked for there."""
    folder = Path(home["OPENHERMES_HOME"]) / "config"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[servers.work]\nurl = "http://192.0.2.1/v1"\nkey_env = "WORK_KEY"')
    with Terminal(["chat", "-m", "work"], {**home, "WORK_KEY": "sk-secret"}) as term:
        term.expect("the key of the server work was not sent without encryption")
        assert term.leave() == 2


def test_a_line_says_that_the_server_is_asked(home: Env, tmp_path: Path) -> None:
    """At the start, and when `/model` switches to a server. Ctrl-C ends the wait."""
    with FakeVLLM(fault=Fault(before_s=60)) as fake:
        label = f"connecting to http://127.0.0.1:{fake.port} · Ctrl-C cancels"
        with Terminal(["chat", "-m", fake.url], home) as term:
            term.expect(label)
            term.type("\x03")
            assert term.leave() == 130
        with Terminal(["chat", "-m", script(tmp_path, {"text": "Hi."})], home) as term:
            term.expect(PROMPT)
            for name in (fake.url, f"{fake.url}:hermes"):
                term.type(f"/model {name}\r")
                term.expect(label)
                term.type("\x03")
                term.expect(r"\(stopped\)\n>")
            term.type("Hello\r")
            term.expect(r"^Hi\.$")


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


def test_an_answer_that_breaks_off_is_kept_and_can_be_asked_again(home: Env) -> None:
    """The hint names the command."""
    with FAKES["openai"]() as fake, Terminal(["chat", "-m", f"{fake.url}:hermes"], home) as term:
        fake.model.answers = ["One two three.", "Four."]
        term.expect(PROMPT)
        fake.fault = Fault(cut_after=3)
        term.type("Hi\r")
        term.expect(r"^the connection to the server http://127\.0\.0\.1:\d+ broke off during the answer$")
        term.expect(r"^  the text so far is kept; /retry asks again$")
        term.expect(PROMPT)
        fake.fault = None
        term.type("/retry\r")
        term.expect(r"^Four\.$")
        term.type("\x04")
        assert term.leave() == 0


STOP_S = 3.0
"""How long it may take from Ctrl-C to the prompt; 0.2 if the cores are not shared."""
MODELS = pytest.mark.parametrize(
    ("kind", "model"), [("llama-server", FakeModel), ("vllm", FakeModel), ("vllm", OtherModel)]
)
"""Servers that encode texts for hermes, and one that makes the prompts and counts their tokens."""


@contextmanager
def in_a_chat(home: Env, kind: str, model: Callable[[], FakeModel]) -> Iterator[tuple[Terminal, Fake]]:
    """Yield a chat in which the server has given the answer "Hello.", and the server."""
    with FAKES[kind](model()) as fake, Terminal(["chat", "-m", f"{fake.url}:hermes"], home) as term:
        fake.model.answers = ["Hello."]
        term.expect(PROMPT)
        term.type("Hi\r")
        term.expect(r"^Hello\.$")
        term.expect(PROMPT)
        wait_until_idle(fake)
        yield term, fake


def wait_until_idle(fake: Fake) -> None:
    """Wait until a fake gets no more requests: hermes counts tokens in the background, too."""
    count = -1
    while count != len(fake.requests):
        count = len(fake.requests)
        time.sleep(1)


def wait_for_request(fake: Fake, count: int) -> None:
    """Wait until a fake has received more than `count` requests for tokens."""
    end = time.monotonic() + 10
    while sum("tokenize" in path for path in fake.paths()) <= count:
        assert time.monotonic() < end
        time.sleep(0.01)


def hang(fake: Fake) -> int:
    """Let a fake answer no requests for tokens from now on; return how many it has received."""
    fake.fault = Fault(before_s=60, path="/tokenize")
    return sum("tokenize" in path for path in fake.paths())


def stop(term: Terminal, fake: Fake, pattern: str) -> None:
    """Press Ctrl-C once, and check that the pattern appears and the connection is closed."""
    begin = time.monotonic()
    term.type("\x03")
    term.expect(pattern)
    assert time.monotonic() - begin < STOP_S
    while not fake.closed_early:
        assert time.monotonic() - begin < STOP_S + 1
        time.sleep(0.01)


@MODELS
def test_ctrl_c_puts_a_message_back_while_the_server_counts_its_tokens(
    home: Env, kind: str, model: Callable[[], FakeModel]
) -> None:
    """It is sent when the server answers again."""
    with in_a_chat(home, kind, model) as (term, fake):
        count = hang(fake)
        term.type("Tell me a story.\r")
        wait_for_request(fake, count)
        term.expect("Ctrl-C stops the answer")
        stop(term, fake, r"^\(stopped; the conversation is unchanged\)\n> Tell me a story\.$")
        fake.fault, fake.model.answers = None, ["Once."]
        term.type("\r")
        term.expect(r"^Once\.$")


@MODELS
@pytest.mark.parametrize("command", ["/tokens some text", "/system You are a poet.", "/context 512"])
def test_ctrl_c_stops_a_command_while_the_server_counts_tokens(
    home: Env, kind: str, model: Callable[[], FakeModel], command: str
) -> None:
    """The prompt appears, although the server still hangs."""
    with in_a_chat(home, kind, model) as (term, fake):
        count = hang(fake)
        term.type(f"{command}\r")
        wait_for_request(fake, count)
        stop(term, fake, r"^> $|^>$|\(stopped\)\n>")
        fake.fault = None
        term.type("How are you?\r")
        term.expect(r"^Once upon")


def test_ctrl_c_stops_an_answer_whose_tokens_the_server_does_not_count(home: Env) -> None:
    """One press is enough, although the answer is counted before the next prompt."""
    with in_a_chat(home, "vllm", OtherModel) as (term, fake):
        fake.fault = Fault(between_s=0.02)
        term.type("Tell me a story.\r")
        term.expect("Once upon")
        hang(fake)
        stop(term, fake, r"the text so far is kept\)\n>")
        term.type("half a line")
        term.expect("^> half a line")


def test_ctrl_c_ends_the_count_before_the_prompt(home: Env) -> None:
    """The server hangs after the answer."""
    with in_a_chat(home, "vllm", OtherModel) as (term, fake):
        fake.fault, fake.model.answers = Fault(between_s=0.05), ["Once upon a time."]
        term.type("Tell me a story.\r")
        term.expect("Once")
        count = hang(fake)
        term.expect(r"^Once upon a time\.$")
        wait_for_request(fake, count)
        stop(term, fake, r"time\.\n\n>")


def test_ctrl_c_puts_a_message_back_while_hermes_connects(home: Env) -> None:
    """The chat continues when the server answers."""
    hung = Fault(before_s=60)
    with (
        FakeVLLM(FakeModel(answers=["Hello."]), fault=hung) as fake,
        Terminal(["chat", "-m", f"{fake.url}:hermes"], home) as term,
    ):
        term.expect(PROMPT)
        term.type("Who are you?\r")
        term.expect("Ctrl-C cancels the message")
        begin = time.monotonic()
        term.type("\x03")
        term.expect(r"unchanged\)\n> Who are you\?$")
        assert time.monotonic() - begin < STOP_S
