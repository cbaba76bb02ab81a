"""The interactive prompt: prompt_toolkit with keys from a pipe."""

import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.posix_pipe import PosixPipeInput
from prompt_toolkit.output import DummyOutput

from hermes_cli.application.chat import ReplHost
from hermes_cli.application.flags import Flags
from hermes_cli.application.model import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.session import Session
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.messages import Opening
from hermes_cli.models.selection import Selection
from hermes_cli.options import Sourced
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.history import TypedLines
from hermes_cli.repl.line_reader import Line
from hermes_cli.repl.loop import Loop
from hermes_cli.repl.paste_input import PasteParser
from hermes_cli.repl.prompt import PromptReader
from hermes_cli.repl.state import Attachment, ReplState
from hermes_cli.screen.terminal import Terminal

Env = Mapping[str, str]
LONG = "\n".join(f"line {n}" for n in range(20))
MARK = "[pasted 20 lines]"
UP, CTRL_C, CTRL_D, ALT_ENTER, BACKSPACE = "\x1b[A", "\x03", "\x04", "\x1b\r", "\x7f"
PATIENCE_S = 10


def pasted(text: str) -> str:
    """Return what a terminal sends for a paste."""
    return f"\x1b[200~{text}\x1b[201~"


class Person:
    """A user at a prompt: keys to press, and the lines that are read."""

    def __init__(
        self, env: Env, keys: PosixPipeInput, *, vi_keys: bool = False, no_log: bool = False
    ) -> None:
        self.err = io.StringIO()
        terminal = Terminal(io.BytesIO(), io.BytesIO(), self.err, True, True, True, obeys=True)  # noqa: FBT003 - see tests/run_hermes.py
        runtime = Runtime(terminal, env)
        host = ReplHost(runtime, Flags(no_log=no_log), ModelChoice(Selection("scripted", "")))
        self.session = Session(ScriptedEngine(["A1", "A2", "A3"]), Opening(), Sourced())
        self.printer = AnswerPrinter(interactive=True)
        self.state = ReplState(terminal, self.session, runtime.persona(None), "", host, self.printer)
        self.history = runtime.paths.history
        typed = TypedLines(self.history, lambda: not host.is_saving_disabled, terminal.notice)
        self.state.history = typed
        self.keys = keys
        self.reader = PromptReader(self.state, typed, vi_keys=vi_keys, source=keys, sink=DummyOutput())

    def types(self, keys: str) -> Line | None:
        """Press keys and return the line that is read."""
        self.keys.send_text(keys)
        return self.reader.read()

    def later(self, condition: Callable[[], bool], keys: str) -> None:
        """Press keys once a condition holds."""

        def wait() -> None:
            end = time.monotonic() + PATIENCE_S
            while not condition() and time.monotonic() < end:
                time.sleep(0.005)
            self.keys.send_text(keys)

        threading.Thread(target=wait, daemon=True).start()

    @property
    def line(self) -> str:
        """The text of the input line, also after it was sent."""
        return self.reader._session.default_buffer.text


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[PosixPipeInput]:
    """A keyboard, and no editor in the environment."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        yield cast(
            "PosixPipeInput", pipe
        )  # after an exception prompt_toolkit asks for Enter in the app session


@pytest.fixture
def person(home: Env, keys: PosixPipeInput) -> Person:
    """A user in a new conversation."""
    return Person(home, keys)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("hello\r", "hello"),
        ("a\nb\r", "a\nb"),  # Ctrl-J
        (f"a{ALT_ENTER}b\r", "a\nb"),
        ("  é日  \r", "  é日  "),
        (f'he said "{pasted("one")}"\r', 'he said "one"'),
        (pasted("/exit\r\ntwo\rthree\n") + "\r", "/exit\ntwo\nthree\n"),
        (f"wrong{CTRL_C}right\r", "right"),
        ("a\x04b\r", "ab"),  # Ctrl-D in a line with text does not end the input
        ("x\x1b[1;3D\r", "x"),
        ("\x1b[1;3D", "/swipe left"),
        ("\x1b[1;3C", "/swipe right"),
    ],
)
def test_what_the_keys_make(person: Person, typed: str, line: str) -> None:
    """Enter sends the line; Ctrl-J and Alt-Enter start a new one; Alt-Left and Alt-Right swipe."""
    assert person.types(typed) == Line(line)


def test_one_line_after_the_other(person: Person) -> None:
    """Lines that are typed ahead are read one after the other."""
    assert person.types("one\rtwo\rthree\r") == Line("one")
    assert person.reader.read() == Line("two")
    assert person.reader.read() == Line("three")


@pytest.mark.parametrize("typed", [CTRL_D, f"half{CTRL_C}{CTRL_D}"])
def test_ctrl_d_on_an_empty_line_leaves(person: Person, typed: str) -> None:
    """Ctrl-D on an empty line ends the input."""
    assert person.types(typed) is None


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ('"""one\r\rtwo"""\r', "one\n\ntwo"),
        ('"""\r\r\r\rafter empty lines\r"""\r', "after empty lines"),
        ('"""/exit"""\r', "/exit"),
        (f'"""{pasted("a")}\r"""\r', "a"),
        (f'"""{pasted(LONG)}"""\r', LONG),
    ],
)
def test_a_block_between_triple_quotes(person: Person, typed: str, line: str) -> None:
    """A block between triple quotes is sent verbatim, without its quotes."""
    assert person.types(typed) == Line(line, verbatim=True)


def test_what_is_in_a_block_or_behind_a_blank_is_no_command(person: Person) -> None:
    """A slash in a block or after a space is part of a message."""
    person.keys.send_text('"""/exit"""\r"""//x"""\r /exit\r/exit\rnever\r')
    assert Loop(person.state, person.reader, person.printer).run() == 0
    said = [one.text for one in person.session.conversation]
    assert said == ["/exit", "A1", "//x", "A2", " /exit", "A3"]


def test_multiline_swaps_enter_and_alt_enter(person: Person) -> None:
    """With multiline on, Alt-Enter sends and Enter starts a line, except that Enter sends a command."""
    person.state.multiline = True
    assert person.types(f"one\rtwo{ALT_ENTER}") == Line("one\ntwo")
    assert person.types("/multiline\r") == Line("/multiline"), "it can be ended as it was begun"
    assert person.types(f"//one\rtwo{ALT_ENTER}") == Line("//one\ntwo"), "this is no command"
    person.state.multiline = False
    assert person.types(f"one{ALT_ENTER}two\r") == Line("one\ntwo")


def test_a_large_paste_is_folded_and_sent_whole(person: Person) -> None:
    """A large paste is shown as a mark and sent as its text."""
    paste = pasted(LONG.replace("\n", "\r"))
    assert person.types(f"Look: {paste} and {paste}?\r") == Line(f"Look: {LONG} and {LONG}?")
    assert person.line == f"Look: {MARK} and [pasted 20 lines #2]?"
    assert person.types(f"{MARK}\r") == Line(MARK), "a mark of an earlier line is only text"


def test_backspace_behind_a_mark_takes_all_of_it(person: Person) -> None:
    """Backspace directly after a mark removes the whole paste."""
    typed = f"a {pasted(LONG)}{BACKSPACE}{pasted(LONG)} b{BACKSPACE * 3}c\r"
    assert person.types(typed) == Line("a c")


@pytest.mark.parametrize("no_log", [False, True])
def test_a_folded_paste_comes_back_with_the_arrow_key(
    home: Env, keys: PosixPipeInput, *, no_log: bool
) -> None:
    """A folded paste is sent in full again if it is recalled with the arrow key."""
    person = Person(home, keys, no_log=no_log)
    assert person.types(f"Look: {pasted(LONG)}\r") == Line(f"Look: {LONG}")
    assert person.types(f"{UP}\r") == Line(f"Look: {LONG}")


def test_a_paste_of_megabytes_is_refused_and_the_line_stays(person: Person) -> None:
    """A paste above the limit is refused with a message, and the line keeps its text."""
    callback = person.keys.vt100_parser.feed_key_callback
    person.keys.vt100_parser = PasteParser(callback, 30_000, person.reader._refuse_paste)
    assert person.types(f"before {pasted('x' * 30_001)}after\r") == Line("before after")
    assert "A paste of 30,001 characters is too long for a line; /file PATH" in person.err.getvalue()


def test_ctrl_c_on_an_empty_line_drops_the_attachment(person: Person) -> None:
    """Ctrl-C clears a line with text; on an empty line it removes the attached files."""
    person.state.attached.append(Attachment("a.txt", "secret"))
    assert person.types(f"wrong{CTRL_C}x\r") == Line("x")
    assert len(person.state.attached) == 1, "it only empties a line that holds something"
    assert person.types(f"{CTRL_C}{CTRL_C}x\r") == Line("x")
    assert person.state.attached == []
    assert "the attached files were removed" in person.err.getvalue()
    assert "Press Ctrl-D or type /exit to leave." in person.err.getvalue()


def test_ctrl_c_gives_up_an_edit(person: Person) -> None:
    """Ctrl-C cancels `/edit`, and the next line is a new turn."""
    person.keys.send_text(f"q\r/edit\r{CTRL_C}next\r{CTRL_D}")
    Loop(person.state, person.reader, person.printer).run()
    assert [one.text for one in person.session.conversation] == ["q", "A1", "next", "A2"]
    assert "nothing was changed" in person.err.getvalue()


@pytest.mark.parametrize(
    ("text", "typed", "line"),
    [
        ("ask me", "\r", "ask me"),
        ("ask me", " again\r", "ask me again"),
        ("/etc", "\r", "//etc"),
        ("one\ntwo", " three\r", "one\ntwo three"),
        (LONG, " more\r", f"{LONG} more"),
    ],
)
def test_a_suggestion_stands_in_the_line(person: Person, text: str, typed: str, line: str) -> None:
    """A suggested text is in the next line, and only there, to be sent or changed."""
    person.state.suggest(text)
    assert person.types(typed) == Line(line)
    assert person.types("next\r") == Line("next")


@pytest.fixture
def editor(keys: PosixPipeInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - `keys` removes EDITOR first
    """The user's editor: it copies its file to `editor.given` and replaces it by `editor.gives`."""
    path = tmp_path / "editor"
    path.write_text(f"#!/bin/sh\ncp \"$1\" '{path}.given'\ncat '{path}.gives' > \"$1\"\n")
    path.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(path))
    return path


@pytest.mark.parametrize("text", ["some words", LONG])
def test_a_turn_is_edited_in_the_persons_editor(person: Person, editor: Path, text: str) -> None:
    """The suggested text opens in $EDITOR, and the saved text is in the line."""
    editor.with_suffix(".gives").write_text("better\n")
    person.state.suggest(text)
    person.state.in_editor = True
    person.later(lambda: person.line == "better", "\r")
    assert person.reader.read() == Line("better")
    assert editor.with_suffix(".given").read_text() == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("command", ["{}", "false", "/no/such/editor", "'unbalanced"])
def test_an_editor_that_fails_leaves_the_line(
    person: Person,
    editor: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If the editor fails or saves invalid UTF-8, the line keeps its text and no traceback is printed."""
    editor.with_suffix(".gives").write_bytes(b"caf\xe9\n")
    monkeypatch.setenv("EDITOR", command.format(editor))
    person.state.suggest("some words")
    person.state.in_editor = True
    person.later(lambda: bool(person.err.getvalue()), "\r")
    assert person.reader.read() == Line("some words")
    assert "Unhandled" not in capsys.readouterr().out


def test_two_windows_and_a_line_that_is_not_kept(home: Env, keys: PosixPipeInput) -> None:
    """Two windows share the history, which does not hold a line that begins with a space."""
    with create_pipe_input() as other_keys:
        one, two = Person(home, keys), Person(home, cast("PosixPipeInput", other_keys))
        two.types("from two\r")
        one.types("from one\r")
        one.types(" secret\r")
        assert two.types(f"{UP}\r") == Line("from one")
        assert one.types(f"{UP}{UP}\r") == Line("from two")
    assert "secret" not in one.history.read_text()


def test_what_is_forgotten_does_not_come_back(person: Person) -> None:
    """`forget` also removes the lines that were typed in this run from the history."""
    person.types("marmalade\r")
    assert person.state.history is not None
    person.state.history.forget({"something else"})
    assert person.types(f"{UP}\r") == Line("")
    assert "marmalade" not in person.history.read_text()


def test_vi_keys(home: Env, keys: PosixPipeInput) -> None:
    """With vi keys, commands after Escape edit the line, and Enter sends it."""
    person = Person(home, keys, vi_keys=True)
    assert person.types("wrong word\x1bbcwright\r") == Line("wrong right")
