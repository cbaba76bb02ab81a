"""A chat on a terminal while its model loads, if that fails, and before the first token."""

import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.run_hermes import script
from tests.terminal.screen import Terminal, at_the_prompt

Env = Mapping[str, str]

pytestmark = pytest.mark.slow


def test_a_message_can_be_sent_while_the_model_loads(home: Env, tmp_path: Path) -> None:
    """While the model loads a message can be typed and sent; it is answered afterwards."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}, load=3.0), home) as term:
        term.expect(r"^\S loading scripted · /")  # the plan follows, as far as there is room
        term.type("Hello")
        term.expect(r"^> Hello$")
        assert "loading scripted" in term.text
        term.type(" there\r")
        term.expect(r"^. loading scripted · \d s · Ctrl-C cancels the message$")
        assert "loading" not in term.expect(r"^> Hello there\nHermes 2\nfine\n\n>")
        term.expect(r"^scripted · Hermes 2 · \d+ of 4,096 tokens$")


def test_ctrl_c_during_the_load_returns_the_message_to_the_prompt(home: Env, tmp_path: Path) -> None:
    """Ctrl-C while the model loads returns the message to the prompt."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}, load=3.0), home) as term:
        term.type("Hello\r")
        term.expect("Ctrl-C cancels the message")
        term.type("\x03")
        term.expect(r"the conversation is unchanged\)\n> Hello$")
        term.type(" again\r")
        term.expect(r"Hermes 2\nfine")
        term.type("/show prompt\r")
        assert "Hello<" not in term.expect("user\nHello again<")


def test_a_failed_load_is_reported_and_the_typed_line_is_kept(home: Env, tmp_path: Path) -> None:
    """A failed load is reported, the typed line stays, and `/model` loads another model."""
    with at_the_prompt(script(tmp_path, load=1.0, broken="out-of-memory"), home) as term:
        term.type("half a li")
        term.expect(r"scripted error: out-of-memory")
        term.expect(r"^> half a li$")
        term.expect("no model; /model NAME loads one")
        term.type("ne\r")
        term.expect(r"> half a line\nscripted error: out-of-memory\n> half a line$")
        (tmp_path / "other").mkdir()
        other = script(tmp_path / "other", {"text": "fine"})
        term.type(f"\x03/model {other}\r")
        term.expect("Switched to scripted")
        term.type("Go\r")
        term.expect(r"Hermes 2\nfine")
        term.type("\x04")
        assert term.leave() == 0


def test_the_exit_code_after_a_failed_load_is_that_of_its_error(home: Env, tmp_path: Path) -> None:
    """Leaving a chat whose model could not be loaded gives the exit code of that error."""
    with Terminal(["chat", "-m", script(tmp_path, broken="out-of-memory")], home) as term:
        term.expect("scripted error")
        term.type("\x04")
        assert term.leave() == 75


def test_ctrl_c_during_prefill_returns_the_message_to_the_prompt(home: Env, tmp_path: Path) -> None:
    """Ctrl-C during prefill returns the message to the prompt, and Enter sends it again."""
    model = script(tmp_path, {"text": "late", "prefill": 60}, {"text": "fine"})
    with at_the_prompt(model, home) as term:
        term.type("Tell me\r")
        term.expect(r"^. reading the prompt: \d+ of \d+ tokens · \d s · Ctrl-C stops the answer$")
        term.type("\x03")
        text = term.expect(r"\(stopped; the conversation.*\)\n> Tell me$")
        assert "reading the" not in text
        term.type("\r")
        term.expect(r"Hermes 2\nfine")


def test_ask_at_a_terminal_shows_the_progress_of_the_prefill(home: Env, tmp_path: Path) -> None:
    """`hermes ask` at a terminal shows the progress of the prefill, then erases it."""
    model = script(tmp_path, {"text": "a word at last", "prefill": 3})
    with Terminal(["ask", "-m", model, "x"], home) as term:
        term.expect(r"^. reading the prompt: [1-9]\d* of \d+ tokens · \d s$")
        text = term.expect("a word at last")
        assert "reading" not in text
        assert term.leave() == 0


def test_ask_without_streaming_shows_that_it_writes_the_answer(home: Env, tmp_path: Path) -> None:
    """`hermes ask --no-stream` shows that it is writing the answer, then erases that line."""
    model = script(tmp_path, {"text": "a word at last", "delay": 0.2})
    with Terminal(["ask", "-m", model, "--no-stream", "x"], home) as term:
        term.expect(r"^. writing the answer · \d s$")
        text = term.expect("a word at last")
        assert "writing" not in text
        assert term.leave() == 0


@pytest.mark.long
def test_a_killed_model_process_is_started_again(starter_home: Env) -> None:
    """A process that ends between two answers is started again; if it ends in one, that is reported."""
    with Terminal(["chat"], starter_home) as term:
        term.expect("of 8,192 tokens")
        kill_children(term)
        term.type("Write a very long story.\r")
        term.expect(r"^Hermes 2\n[^\n]+\n[^\n]+")
        kill_children(term)
        term.expect(r"llama.cpp was killed[\s\S]*\n>")
        term.type("Hello\r")
        term.expect(r"> Hello\nHermes 2\n[^\n]+")
        assert term.text.count("was killed") == 1


def kill_children(term: Terminal) -> None:
    """Kill the process of the model, and give hermes time to notice it."""
    for child in psutil.Process(term.child.pid).children():
        child.kill()
    time.sleep(0.5)
