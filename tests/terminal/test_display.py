"""Answers on a terminal: Markdown, colors, the toolbar, resizing and the clipboard."""

import base64
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.run_hermes import script
from tests.terminal.screen import PATIENCE_S, PROMPT, Terminal, at_the_prompt

Env = Mapping[str, str]

pytestmark = pytest.mark.slow


def test_plain_switches_from_markdown_to_plain_text(home: Env, tmp_path: Path) -> None:
    """Answers are shown as Markdown, and after `/plain` as plain text."""
    text = "# Title\n\nThis is **bold** and *soft* `code`.\n\n```python\ndef f(): pass\n```\n"
    with at_the_prompt(script(tmp_path, {"text": text}, {"text": text}), home) as term:
        term.type("Go\r")
        term.expect(
            r"^Hermes 2\nTitle\n\nThis is bold and soft code\.\n\n```python\ndef f\(\): pass\n```\n\n>"
        )
        assert term.cell("bold").bold
        assert term.cell("soft").italics
        assert term.cell("code.").fg == "cyan"
        assert term.cell("def").fg == "blue"
        term.type("/plain\r")
        term.expect(r"as plain text.*\n>")
        term.type("Go\r")
        term.expect(r"^# Title\n\nThis is \*\*bold\*\* and")


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")])
def test_no_color_is_written_with_no_color_or_a_dumb_terminal(
    home: Env, tmp_path: Path, variable: str, value: str
) -> None:
    """With NO_COLOR or TERM=dumb no color is written, with TERM=dumb no other control sequence either.

    An unset TERM is like TERM=dumb: the prompt is not drawn at the bottom of the screen.
    """
    with Terminal(
        ["chat", "-m", script(tmp_path, {"text": "**bold** `code`"})], {**home, variable: value}
    ) as term:
        term.expect(PROMPT)
        term.type("Go\r")
        term.expect("bold.*code")
        term.type("/nonsense\r")
        term.expect("there is no command")
        term.type("\x04")
        assert term.leave() == 0
    assert not re.search(rb"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7])m", term.raw)
    if variable == "TERM":
        assert b"\x1b[" not in term.raw.replace(b"\x1b[?25h\x1b[?2004l", b"")
        assert term.raw.count(b"\n") < 20


def test_force_color_colors_errors_in_a_pipe_but_not_the_answer(home: Env, tmp_path: Path) -> None:
    """FORCE_COLOR colors errors in a pipe, but not the answer."""
    command = [sys.executable, "-m", "hermes_cli", "ask", "-m"]
    env = {**os.environ, **home, "FORCE_COLOR": "1"}
    answer = [*command, script(tmp_path, {"text": "**x**"}), "y"]
    done = subprocess.run(answer, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=True)
    assert done.stdout == b"**x**\n"
    failed = subprocess.run(
        [*command, "nonsense", "y"], stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False
    )
    assert failed.stderr.startswith(b"\x1b[31mhermes: ")


def test_ask_at_a_terminal_shows_markdown(home: Env, tmp_path: Path) -> None:
    """`hermes ask` at a terminal shows Markdown, and the answer cannot set colors."""
    text = "**bold** &#27;[31m\x1b[31mred"
    with Terminal(["ask", "-m", script(tmp_path, {"text": text}), "x"], home) as term:
        assert term.leave() == 0
        assert term.cell("bold").bold
        assert term.cell("red").fg == "default"


def test_a_narrow_terminal_has_no_toolbar(home: Env, tmp_path: Path) -> None:
    """There is no toolbar on a terminal of 30 columns."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home, columns=30) as term:
        term.type("Go\r")
        assert "tokens" not in term.expect(r"Hermes 2\nfine\n\n>")


def test_a_resize_in_mid_answer_duplicates_no_word(home: Env, tmp_path: Path) -> None:
    """After resizes in mid-answer no word is on the screen twice."""
    words = [f"word{n:03}" for n in range(120)]
    env = {**home, "XTERM_VERSION": "XTerm(390)"}  # pyte cuts rows and does not reflow them, as xterm
    answer = {"text": " ".join(words), "delay": 0.004}
    with at_the_prompt(script(tmp_path, answer), env, columns=100) as term:
        term.type("Go\r")
        for columns, seen in ((60, 20), (120, 45), (40, 70)):
            term.expect(words[seen])
            term.resize(columns, 30)
        text = term.expect(rf"{words[-1]}\n\n>")
        assert all(text.count(word) <= 1 for word in words)
        assert all(word in text for word in words[75:])


class Tmux:
    """A chat in a window of tmux, which reflows rows."""

    def __init__(self, model: str, home: Env, tmp_path: Path) -> None:
        self._socket = str(tmp_path / "tmux")
        self._env = {**os.environ, **home}
        chat = f"{sys.executable} -m hermes_cli chat -m {model}"
        self.run("new-session", "-d", "-s", "chat", "-x", "100", "-y", "30", chat)

    def run(self, *arguments: str) -> str:
        """Run a command of tmux, and return its output."""
        command = ["tmux", "-f", "/dev/null", "-S", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=self._env).stdout

    def wait_for(self, word: str) -> str:
        """Wait until a word is on the screen or above it, and return the text."""
        end = time.monotonic() + PATIENCE_S
        while word not in (text := self.run("capture-pane", "-p", "-S", "-", "-t", "chat")):
            assert time.monotonic() < end, text
        return text

    def press(self, *keys: str) -> None:
        """Press keys."""
        self.run("send-keys", "-t", "chat", *keys)

    def resize(self, columns: int) -> None:
        """Change the width of the window."""
        self.run("resize-window", "-t", "chat", "-x", str(columns), "-y", "30")


needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, which reflows rows")


@needs_tmux
def test_a_resize_in_mid_answer_loses_no_word(home: Env, tmp_path: Path) -> None:
    """After resizes in mid-answer in tmux, which reflows rows, each word is there exactly once."""
    words = [f"word{n:03}" for n in range(200)]
    tmux = Tmux(script(tmp_path, {"text": " ".join(words) + "\n\nThe end.", "delay": 0.004}), home, tmp_path)
    try:
        tmux.wait_for("tokens")
        tmux.press("Go", "Enter")
        for columns, seen in ((60, 20), (120, 60), (40, 100), (90, 150)):
            tmux.wait_for(words[seen])
            tmux.resize(columns)
        text = "".join(tmux.wait_for("The end.").split())
    finally:
        tmux.run("kill-server")
    assert {word: text.count(word) for word in words} == dict.fromkeys(words, 1)


@needs_tmux
def test_a_resize_during_the_prefill_leaves_nothing_of_the_status_line(home: Env, tmp_path: Path) -> None:
    """The status line takes several rows after the window has become narrower."""
    tmux = Tmux(script(tmp_path, {"text": "late", "prefill": 60.0}), home, tmp_path)
    try:
        tmux.wait_for("tokens")
        tmux.press("Go", "Enter")
        for columns in (40, 20):
            tmux.wait_for("reading")
            tmux.resize(columns)
            time.sleep(0.3)  # some frames
        text = tmux.wait_for("reading")
        tmux.press("C-c")
        after = tmux.wait_for("(stopped")
    finally:
        tmux.run("kill-server")
    assert text.count("reading") == 1
    assert "reading" not in after


def test_copy_code_writes_the_code_block_to_the_clipboard(home: Env, tmp_path: Path) -> None:
    """`/copy code` writes the code block to the clipboard and prints the limit of tmux."""
    text = "Here:\n\n```sh\nls -l\n```\n"
    env = {**home, "TMUX": "/tmp/x,1,0"}  # noqa: S108 - not a file: the variable of tmux
    with at_the_prompt(script(tmp_path, {"text": text}), env) as term:
        term.type("/copy\r")
        term.expect("no answer to copy yet")
        term.type("Go\r")
        term.expect(r"```\n\n>")
        term.type("/copy code\r")
        term.expect(r"Sent 6 characters to the terminal's clipboard.*tmux passes it on only")
    assert b"\x1b]52;c;" + base64.b64encode(b"ls -l\n") + b"\x07" in term.raw
