"""The clipboard: the sequence for the terminal, and the messages about it."""

import base64
import io
import unicodedata
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import LayeredOptions
from hermes_cli.personas.persona import Persona
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.commands import answers
from hermes_cli.repl.state import Host, ReplState
from hermes_cli.screen.terminal import MANY_BYTES, Terminal


class Screen:
    """A terminal that records its output."""

    def __init__(self, *, tty: bool = True, obeys: bool = True, clipboard: str = "") -> None:
        self.out, self.err = io.BytesIO(), io.StringIO()
        streams = io.BytesIO(), self.out, self.err
        self.terminal = Terminal(*streams, False, tty, False, obeys=obeys, clipboard=clipboard)  # noqa: FBT003 - see tests/run_hermes.py

    @property
    def copied(self) -> str:
        """The text in the terminal's clipboard."""
        data = self.out.getvalue()
        head, tail = b"\x1b]52;c;", b"\x07"
        assert data.startswith(head)
        assert data.endswith(tail)
        return base64.b64decode(data[len(head) : -len(tail)], validate=True).decode()


def state(screen: Screen, *texts: str) -> ReplState:
    """Return a conversation with these answers."""
    persona = Persona("A", "", Path("a.toml"))
    session = Session(ScriptedEngine([]), [Member(persona)], LayeredOptions())
    for text in texts:
        session.tree.append(Message(Role.USER, "?"))
        session.tree.append(Message(Role.ASSISTANT, text))
    printer = AnswerPrinter(interactive=False)
    return ReplState(screen.terminal, session, "", cast("Host", None), printer)


def test_the_text_is_sent_as_one_osc_52_sequence() -> None:
    """The text is sent as one OSC 52 sequence in base64, and nothing else is written."""
    screen = Screen()
    screen.terminal.copy("é\tone\ntwo\n")
    assert screen.out.getvalue() == b"\x1b]52;c;w6kJb25lCnR3bwo=\x07"
    assert screen.copied == "é\tone\ntwo\n"


def test_copied_text_is_sanitized() -> None:
    """Control and direction characters are made harmless before the text is copied."""
    screen = Screen()
    screen.terminal.copy("rm\x1b[201~ x\u202e\ud800\r\n\x00")
    assert screen.copied == "rm\u241b[201~ x\ufffd\n\u2400"


@given(st.text(max_size=40))
def test_no_text_can_end_the_sequence(text: str) -> None:
    """The output is one sequence for any text, and no copied text holds control characters."""
    screen = Screen()
    screen.terminal.copy(text)
    written = screen.out.getvalue()
    assert written.count(b"\x1b") == written.count(b"\x07") == 1
    assert not any(
        unicodedata.category(character) == "Cc" for character in screen.copied if character not in "\n\t"
    )


@pytest.mark.parametrize(("tty", "obeys"), [(False, True), (True, False)])
def test_copying_without_a_terminal_is_refused(*, tty: bool, obeys: bool) -> None:
    """Without a terminal that supports control sequences the copy is refused and nothing is written."""
    screen = Screen(tty=tty, obeys=obeys)
    with pytest.raises(UsageError, match="no terminal with a clipboard"):
        screen.terminal.copy("x")
    assert screen.out.getvalue() == b""


def test_a_remark_reports_the_limits_of_the_terminal() -> None:
    """The remark is the terminal's known limit, that a text is long, or that a terminal may forbid it."""
    assert Screen(clipboard="It takes none.").terminal.copy("x") == "It takes none."
    assert "does not allow" in Screen().terminal.copy("x")
    assert "Many terminals" in Screen().terminal.copy("x" * (MANY_BYTES + 1))
    assert "Many terminals" in Screen().terminal.copy("é" * (MANY_BYTES // 2 + 1))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "tmux-256color", "TMUX": "/x,1,0"}, "set-clipboard"),
        ({"TERM": "screen-256color", "TMUX": "/x,1,0"}, "set-clipboard"),
        ({"TERM": "screen.xterm-256color"}, "screen does not"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "Apple"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7200"}, "GNOME"),
        ({"TERM": "linux"}, "console"),
        ({"TERM": "xterm-kitty", "TERM_PROGRAM": "WezTerm"}, ""),
        ({}, ""),
    ],
)
def test_terminals_with_known_limits_are_recognized(environ: dict[str, str], words: str) -> None:
    """Terminals with a known limit are recognized from the environment."""
    limit = Terminal.from_process(environ).clipboard
    assert words in limit
    assert bool(words) == bool(limit)


def test_copy_takes_the_last_answer() -> None:
    """`/copy` copies the Markdown of the last answer and reports its length."""
    screen = Screen()
    answers.copy(state(screen, "First.", "**Last** one."), "")
    assert screen.copied == "**Last** one."
    assert "Sent 13 characters" in screen.err.getvalue()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("A:\n\n```sh\nls\n```\n\nB:\n\n```python\ndef f():\n    pass\n```\n\nDone.", "def f():\n    pass\n"),
        ("A:\n\n```\none\n```\n\n    indented\n    too\n", "indented\ntoo\n"),
        ("- a list\n\n  ```\n  in it\n    more\n  ```\n", "in it\n  more\n"),
        ("It broke off:\n\n```c\nint main(", "int main(\n"),
        ("~~~\n```\n~~~", "```\n"),
        ("```\n\n\nspaced\n\n```", "\n\nspaced\n\n"),
    ],
)
def test_copy_code_takes_the_last_block(answer: str, code: str) -> None:
    """`/copy code` copies the last code block of the last answer, without its fences or indentation."""
    screen = Screen()
    answers.copy(state(screen, "```\nearlier\n```", answer), "code")
    assert screen.copied == code


def test_copy_is_refused_if_there_is_nothing_to_copy() -> None:
    """`/copy` without an answer, without a code block or with an unknown word is refused."""
    screen = Screen()
    with pytest.raises(UsageError, match="no answer to copy"):
        answers.copy(state(screen), "")
    with pytest.raises(UsageError, match="no code block"):
        answers.copy(state(screen, "```\ncode\n```", "`inline` only"), "code")
    with pytest.raises(UsageError, match="does not take 'all'"):
        answers.copy(state(screen, "x"), "all")
    assert screen.out.getvalue() == b""
