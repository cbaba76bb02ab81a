"""Interrupting `hermes chat` on a pty: Ctrl-C, Ctrl-Z, signals, a closed terminal, and stopped answers."""

import signal
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.run_hermes import script
from tests.terminal.screen import ENDLESS_TURN, PROMPT, Terminal, at_the_prompt

Env = Mapping[str, str]

pytestmark = pytest.mark.slow


def test_ctrl_c_stops_the_answer_and_keeps_it(home: Env, tmp_path: Path) -> None:
    """Ctrl-C stops the answer, keeps its text, and the chat goes on."""
    with at_the_prompt(script(tmp_path, ENDLESS_TURN, {"text": "fine"}), home) as term:
        term.type("Go\r")
        term.expect("tick tick tick")
        term.type("\x03")
        term.expect(r"stopped; the text so far is kept")
        term.type("/show prompt\r")
        term.expect(r"assistant\n ?tick tick")
        term.type("Again\r")
        term.expect("Hermes 2\nfine")


@pytest.mark.parametrize("keys", ["\x03", ""])
def test_text_typed_during_an_answer_is_in_the_next_prompt(home: Env, tmp_path: Path, keys: str) -> None:
    """Ctrl-C stops the answer and does not discard the text."""
    turn = ENDLESS_TURN if keys else {"text": "tick " * 20, "delay": 0.01}
    with at_the_prompt(script(tmp_path, turn), home) as term:
        term.type("Go\r")
        term.expect("tick tick")
        term.type("next words")
        term.type(keys)
        term.expect(r"^> next words$")


def test_repeated_ctrl_c_stops_the_answer_once(home: Env, tmp_path: Path) -> None:
    """Five times Ctrl-C during an answer stop it, and the chat goes on."""
    with at_the_prompt(script(tmp_path, ENDLESS_TURN, {"text": "fine"}), home) as term:
        term.type("Go\r")
        term.expect("tick tick")
        for _ in range(5):
            term.type("\x03")
        term.expect(r"stopped")
        term.type("Again\r")
        term.expect("Hermes 2\nfine")


def test_ctrl_c_at_the_prompt_clears_the_line(home: Env, tmp_path: Path) -> None:
    """Ctrl-C clears the line; on an empty line it prints how to leave."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.type("nonsense")
        term.expect("> nonsense")
        term.type("\x03")
        term.expect(r"> nonsense\n>")  # between two prompts, Ctrl-C stops nothing
        term.type("\x03")
        term.expect("type /exit to leave")
        term.type("Go\r")
        term.expect("Hermes 2\nfine")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("place", ["answer", "prompt"])
def test_a_signal_ends_the_chat_and_restores_the_terminal(
    home: Env, tmp_path: Path, number: signal.Signals, code: int, place: str
) -> None:
    """SIGTERM and SIGHUP end the chat with 128 + n and restore the terminal."""
    with at_the_prompt(script(tmp_path, ENDLESS_TURN), home) as term:
        if place == "answer":
            term.type("Go\r")
            term.expect("tick tick")
        term.child.kill(number)
        assert term.leave() == code
        assert term.is_cooked()
        assert not term.cursor_hidden
        assert "Traceback" not in term.text


@pytest.mark.parametrize("milliseconds", range(0, 60, 6))
def test_sigterm_while_the_prompt_is_drawn_ends_the_chat(
    home: Env, tmp_path: Path, milliseconds: int
) -> None:
    """SIGTERM while the prompt is drawn ends the chat, in spite of prompt_toolkit's event loop."""
    with at_the_prompt(script(tmp_path), home) as term:
        term.type("/")
        time.sleep(milliseconds / 1000)
        term.child.kill(signal.SIGTERM)
        assert term.leave() == 143
        assert term.is_cooked()
        assert "Unhandled" not in term.text


@pytest.mark.parametrize("verb", ["ask", "chat"])
def test_closing_the_terminal_ends_hermes_as_sighup_does(home: Env, tmp_path: Path, verb: str) -> None:
    """If the terminal is closed, hermes ends with 129, as by SIGHUP."""
    with Terminal(
        [verb, "-m", script(tmp_path, ENDLESS_TURN), *(["x"] if verb == "ask" else [])], home
    ) as term:
        if verb == "chat":
            term.expect(PROMPT)
            term.type("Go\r")
        term.expect("tick tick")
        assert term.hang_up() == 129


def test_ctrl_c_while_another_model_loads_keeps_the_old_model(starter_home: Env) -> None:
    """Ctrl-C while `/model` loads leaves a model that answers."""
    with Terminal(["chat", "-m", "starter", "--max-tokens", "4"], starter_home) as term:
        term.expect(PROMPT)
        for _ in range(3):
            term.type("/model starter\r")
            time.sleep(0.25)
            term.type("\x03")
            time.sleep(0.5)
        term.type("Hello\r")
        term.expect(r"Hermes 2\n\S")


def test_the_echo_is_switched_off_again_after_ctrl_z_and_fg(home: Env, tmp_path: Path) -> None:
    """After a stop and a continue in mid-answer hermes switches the echo off again."""
    with at_the_prompt(script(tmp_path, ENDLESS_TURN), home) as term:
        term.type("Go\r")
        term.expect("tick tick")
        term.child.kill(signal.SIGSTOP)
        modes = termios.tcgetattr(term.child.child_fd)
        modes[3] |= termios.ECHO | termios.ICANON  # as the shell does
        termios.tcsetattr(term.child.child_fd, termios.TCSANOW, modes)
        term.child.kill(signal.SIGCONT)
        term.wait_for_quiet_keys()


def test_a_stopped_answer_is_marked_in_a_resumed_chat(home: Env, tmp_path: Path) -> None:
    """A stopped answer is marked when the conversation is shown again."""
    with at_the_prompt(script(tmp_path, ENDLESS_TURN), home) as term:
        term.type("Go\r")
        term.expect("tick tick tick")
        term.type("\x03")
        term.expect("the text so far is kept")
        term.type("\x04")
        assert term.leave() == 0
    with Terminal(["chat", "-c", "-m", script(tmp_path, ENDLESS_TURN)], home) as term:
        term.expect(r"^> Go\nHermes 2\n(tick ?)+t?i?c?k?\n\n\(stopped\)\n>")


def test_continue_extends_a_stopped_answer(home: Env, tmp_path: Path) -> None:
    """`/continue` extends a stopped answer."""
    with at_the_prompt(script(tmp_path, ENDLESS_TURN, {"text": "and tock."}), home) as term:
        term.type("Go\r")
        term.expect("tick tick tick")
        term.type("\x03")
        term.expect(r"stopped; the text so far is kept\)\n>")
        term.type("/continue\r")
        term.expect(r"Hermes 2\ntick .*and tock\.")
        term.type("/show prompt\r")
        term.expect(r"assistant\ntick tick [\s\S]*and tock\.<")


def test_an_exception_in_hermes_restores_the_terminal(home: Env, tmp_path: Path) -> None:
    """After an exception in hermes the terminal is restored and the exit code is 1."""
    with at_the_prompt(script(tmp_path, {"text": "*so", "error": "mistake"}), home) as term:
        term.type("Go\r")
        assert term.leave() == 1
        assert "AssertionError: scripted error: mistake" in term.text
        assert term.is_cooked()
        assert not term.cursor_hidden
        assert not term.cell("hermes:").italics


def test_statistics_report_a_stop_before_the_first_token_once(home: Env, tmp_path: Path) -> None:
    """The line also has the time and the effect."""
    turn = {"text": "late", "prefill": 20.0}
    with at_the_prompt(script(tmp_path, turn), home, "--stats") as term:
        term.type("Go\r")
        term.expect("Ctrl-C stops the answer")
        term.type("\x03")
        text = term.expect(
            r"^\(stopped before the first token, after .* s; the conversation is unchanged\)\n> Go"
        )
        assert text.count("stopped") == 1
