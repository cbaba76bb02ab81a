"""The interactive prompt: prompt_toolkit with keys from a pipe."""

import asyncio
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.posix_pipe import PosixPipeInput
from prompt_toolkit.output import DummyOutput, Output

from hermes_cli.application.chat import ReplHost
from hermes_cli.application.flags import Flags
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.input_text import Attachment
from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import Interrupted
from hermes_cli.messages import Message
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.options import LayeredOptions
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.history import TypedLines
from hermes_cli.repl.line_reader import Line
from hermes_cli.repl.loop import Loop
from hermes_cli.repl.paste_input import PasteParser
from hermes_cli.repl.prompt import COUNT_AFTER_STOP_S, PromptReader
from hermes_cli.repl.state import COUNT_AT_THE_PROMPT_S, ReplState
from hermes_cli.screen.terminal import Terminal
from tests.engines.waiting_engine import WaitingEngine

Env = Mapping[str, str]
LONG = "\n".join(f"line {n}" for n in range(20))
MARK = "[pasted 20 lines]"
UP, CTRL_C, CTRL_D, ALT_ENTER, BACKSPACE = "\x1b[A", "\x03", "\x04", "\x1b\r", "\x7f"
TIMEOUT_S = 10


def pasted(text: str) -> str:
    """Return what a terminal sends for a paste."""
    return f"\x1b[200~{text}\x1b[201~"


A_PASTE = pasted("a\rb")


class User:
    """A user at a prompt, who presses keys and reads lines."""

    def __init__(
        self,
        env: Env,
        keys: PosixPipeInput,
        *,
        vi_keys: bool = False,
        no_log: bool = False,
        sink: Output | None = None,
    ) -> None:
        self.err = io.StringIO()
        terminal = Terminal(io.BytesIO(), io.BytesIO(), self.err, True, True, True, obeys=True)  # noqa: FBT003 - see tests/run_hermes.py
        runtime = Runtime(terminal, env)
        host = ReplHost(runtime, Flags(no_log=no_log), ModelChoice(SelectedModel("scripted", "")))
        self.session = Session(
            ScriptedEngine(["A1", "A2", "A3"]), [Member(runtime.persona(None))], LayeredOptions()
        )
        self.printer = AnswerPrinter(interactive=True)
        self.state = ReplState(terminal, self.session, "", host, self.printer)
        self.history = runtime.paths.history
        typed = TypedLines(self.history, lambda: not host.is_saving_disabled, terminal.notice)
        self.state.history = typed
        self.keys = keys
        self.reader = PromptReader(
            self.state, typed, vi_keys=vi_keys, source=keys, sink=sink or DummyOutput()
        )

    def types(self, keys: str) -> Line | None:
        """Press keys and return the line that is read."""
        self.keys.send_text(keys)
        return self.reader.read()

    def press_when(self, condition: Callable[[], bool], keys: str) -> None:
        """Press keys as soon as a condition is true."""

        def wait() -> None:
            end = time.monotonic() + TIMEOUT_S
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
def user(home: Env, keys: PosixPipeInput) -> User:
    """A user in a new conversation."""
    return User(home, keys)


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
def test_keys_edit_and_send_the_line(user: User, typed: str, line: str) -> None:
    """Enter sends the line; Ctrl-J and Alt-Enter start a new one; Alt-Left and Alt-Right swipe."""
    assert user.types(typed) == Line(line)


def test_lines_typed_ahead_are_read_in_order(user: User) -> None:
    """Each read returns one line."""
    assert user.types("one\rtwo\rthree\r") == Line("one")
    assert user.reader.read() == Line("two")
    assert user.reader.read() == Line("three")


@pytest.mark.parametrize(
    ("suggestion", "typed", "line"),
    [
        ("", "two\r", "two!"),
        ("", "two\rthree\r\r", "two\nthree!"),
        ("", f"tX{BACKSPACE}wo\r{A_PASTE}\r", "two\na\nb!"),
        ("one", "two\r", "one\ntwo!"),
        ("one", "\r", "one!"),
        ("", "/exit\r", "/exit!"),
    ],
)
def test_lines_typed_before_ctrl_c_are_put_back_as_text(
    user: User, suggestion: str, typed: str, line: str
) -> None:
    """Enter sends them only at the next prompt."""
    user.state.was_stopped = True
    user.state.suggest(suggestion)
    user.keys.send_text(typed)
    user.press_when(lambda: user.line == line[:-1], "!\r")
    assert user.reader.read() == Line(line)
    assert user.types("next\r") == Line("next")


def test_the_rest_of_the_lines_typed_ahead_is_put_back_after_ctrl_c(user: User) -> None:
    """The first line was already sent."""
    assert user.types("one\rtwo\rthree\r") == Line("one")
    user.state.was_stopped = True
    user.press_when(lambda: user.line == "two\nthree", "!\r")
    assert user.reader.read() == Line("two\nthree!")


@pytest.mark.parametrize("typed", [CTRL_D, f"half{CTRL_C}{CTRL_D}"])
def test_ctrl_d_on_an_empty_line_ends_the_input(user: User, typed: str) -> None:
    """A line that Ctrl-C cleared is empty, too."""
    assert user.types(typed) is None


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
def test_a_block_between_triple_quotes_is_sent_verbatim(user: User, typed: str, line: str) -> None:
    """The quotes are not sent."""
    assert user.types(typed) == Line(line, verbatim=True)


def test_a_slash_in_a_block_or_after_a_space_is_no_command(user: User) -> None:
    """The line is sent as a message."""
    user.keys.send_text('"""/exit"""\r"""//x"""\r /exit\r/exit\rnever\r')
    assert Loop(user.state, user.reader, user.printer).run() == 0
    texts = [message.text for message in user.session.conversation]
    assert texts == ["/exit", "A1", "//x", "A2", " /exit", "A3"]


@pytest.mark.parametrize("word", ["exit", "Quit"])
def test_a_bare_exit_ends_the_chat(user: User, word: str) -> None:
    """In a sentence, in a block or after a space it is a message."""
    user.keys.send_text(f'exit now\r"""exit"""\r {word}\r{word}\rnever\r')
    assert Loop(user.state, user.reader, user.printer).run() == 0
    assert [m.text for m in user.session.conversation][::2] == ["exit now", "exit", f" {word}"]


def test_multiline_swaps_enter_and_alt_enter(user: User) -> None:
    """With multiline on, Alt-Enter sends and Enter starts a line, except that Enter sends a command."""
    user.state.multiline = True
    assert user.types(f"one\rtwo{ALT_ENTER}") == Line("one\ntwo")
    assert user.types("/multiline\r") == Line("/multiline"), "Enter sends a command"
    assert user.types(f"//one\rtwo{ALT_ENTER}") == Line("//one\ntwo"), "this is not a command"
    user.state.multiline = False
    assert user.types(f"one{ALT_ENTER}two\r") == Line("one\ntwo")


def test_a_large_paste_is_folded_and_sent_in_full(user: User) -> None:
    """The line shows a mark in place of the text."""
    paste = pasted(LONG.replace("\n", "\r"))
    assert user.types(f"Look: {paste} and {paste}?\r") == Line(f"Look: {LONG} and {LONG}?")
    assert user.line == f"Look: {MARK} and [pasted 20 lines #2]?"
    assert user.types(f"{MARK}\r") == Line(MARK), "a mark of an earlier line is plain text"


def test_backspace_after_a_mark_removes_the_whole_paste(user: User) -> None:
    """Elsewhere Backspace removes one character."""
    typed = f"a {pasted(LONG)}{BACKSPACE}{pasted(LONG)} b{BACKSPACE * 3}c\r"
    assert user.types(typed) == Line("a c")


@pytest.mark.parametrize("no_log", [False, True])
def test_the_arrow_key_recalls_a_folded_paste(home: Env, keys: PosixPipeInput, *, no_log: bool) -> None:
    """The recalled line is sent in full again."""
    user = User(home, keys, no_log=no_log)
    assert user.types(f"Look: {pasted(LONG)}\r") == Line(f"Look: {LONG}")
    assert user.types(f"{UP}\r") == Line(f"Look: {LONG}")


def test_a_refused_paste_does_not_change_the_line(user: User) -> None:
    """A paste above the limit is reported with its length."""
    callback = user.keys.vt100_parser.feed_key_callback
    user.keys.vt100_parser = PasteParser(callback, 30_000, user.reader._refuse_paste)
    assert user.types(f"before {pasted('x' * 30_001)}after\r") == Line("before after")
    assert "A paste of 30,001 characters is too long for a line; /file PATH" in user.err.getvalue()


def test_ctrl_c_on_an_empty_line_removes_the_attached_files(user: User) -> None:
    """In a line with text Ctrl-C only clears the line."""
    user.state.attached.append(Attachment("a.txt", "secret"))
    assert user.types(f"wrong{CTRL_C}x\r") == Line("x")
    assert len(user.state.attached) == 1, "Ctrl-C only cleared the line"
    assert user.types(f"{CTRL_C}{CTRL_C}x\r") == Line("x")
    assert user.state.attached == []
    assert "the attached files were removed" in user.err.getvalue()
    assert "Press Ctrl-D or type /exit to leave." in user.err.getvalue()


@pytest.mark.parametrize("typed", ["{} summarize", '"""{} summarize"""', "/usr/bin/foo: {}", "//{}"])
def test_an_unsent_line_comes_back_as_it_was(user: User, typed: str) -> None:
    """Its long pastes are folded as before, and the line is sent in full."""
    line = user.types(typed.format(pasted(LONG)) + "\r")
    assert line is not None
    shown = line if line.verbatim or not line.text.startswith("//") else Line(line.text[1:])
    user.state.suggest(shown.text)
    assert user.types("\r") == line
    assert user.line == typed.format(MARK)
    assert user.types(f"{MARK}\r") == Line(MARK), "a mark of an earlier line is plain text"


def test_ctrl_c_cancels_an_edit(user: User) -> None:
    """The next line is a new turn."""
    user.keys.send_text(f"q\r/edit\r{CTRL_C}next\r{CTRL_D}")
    Loop(user.state, user.reader, user.printer).run()
    assert [message.text for message in user.session.conversation] == ["q", "A1", "next", "A2"]
    assert "nothing was changed" in user.err.getvalue()


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
def test_a_suggestion_is_in_the_next_line_only(user: User, text: str, typed: str, line: str) -> None:
    """The user can send or change the suggested text."""
    user.state.suggest(text)
    assert user.types(typed) == Line(line)
    assert user.types("next\r") == Line("next")


@pytest.fixture
def editor(keys: PosixPipeInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - `keys` removes EDITOR first
    """The user's editor: it copies its file to `editor.given` and replaces it by `editor.gives`."""
    path = tmp_path / "editor"
    path.write_text(f"#!/bin/sh\ncp \"$1\" '{path}.given'\ncat '{path}.gives' > \"$1\"\n")
    path.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(path))
    return path


@pytest.mark.parametrize("text", ["some words", LONG])
def test_a_turn_is_edited_in_the_users_editor(user: User, editor: Path, text: str) -> None:
    """The suggested text opens in $EDITOR, and the saved text is in the line."""
    editor.with_suffix(".gives").write_text("better\n")
    user.state.suggest(text)
    user.state.in_editor = True
    user.press_when(lambda: user.line == "better", "\r")
    assert user.reader.read() == Line("better")
    assert editor.with_suffix(".given").read_text() == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("command", ["{}", "false", "/no/such/editor", "'unbalanced"])
def test_an_editor_that_fails_does_not_change_the_line(
    user: User,
    editor: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An editor fails if it exits with an error, cannot be run or saves invalid UTF-8."""
    editor.with_suffix(".gives").write_bytes(b"caf\xe9\n")
    monkeypatch.setenv("EDITOR", command.format(editor))
    user.state.suggest("some words")
    user.state.in_editor = True
    user.press_when(lambda: bool(user.err.getvalue()), "\r")
    assert user.reader.read() == Line("some words")
    assert "Unhandled" not in capsys.readouterr().out


def test_sigint_after_the_end_of_a_line_is_ignored(user: User) -> None:
    """The signal can arrive when the prompt has just ended, and then prints no traceback."""

    async def interrupt() -> None:
        user.reader._session.app.key_processor.send_sigint()

    user.types("sent\r")
    asyncio.run(interrupt())
    assert user.types("next\r") == Line("next")


def test_two_windows_share_the_history(home: Env, keys: PosixPipeInput) -> None:
    """A line that begins with a space is not in the history."""
    with create_pipe_input() as other_keys:
        one, two = User(home, keys), User(home, cast("PosixPipeInput", other_keys))
        two.types("from two\r")
        one.types("from one\r")
        one.types(" secret\r")
        assert two.types(f"{UP}\r") == Line("from one")
        assert one.types(f"{UP}{UP}\r") == Line("from two")
    assert "secret" not in one.history.read_text()


def test_forget_removes_the_lines_typed_in_this_run(user: User) -> None:
    """The file and the arrow keys no longer have the lines."""
    user.types("marmalade\r")
    assert user.state.history is not None
    user.state.history.forget({"something else"})
    assert user.types(f"{UP}\r") == Line("")
    assert "marmalade" not in user.history.read_text()


def test_vi_keys_edit_the_line(home: Env, keys: PosixPipeInput) -> None:
    """A command after Escape edits the line, and Enter sends it."""
    user = User(home, keys, vi_keys=True)
    assert user.types("wrong word\x1bbcwright\r") == Line("wrong right")


@pytest.mark.parametrize(("setting", "prefilled"), [("true", 1), ("false", 0)])
def test_the_prompt_is_prefilled_unless_the_setting_is_off(
    home: Env, keys: PosixPipeInput, setting: str, prefilled: int
) -> None:
    """At the prompt, the next prompt is prefilled; a command that changes nothing begins no other prefill."""
    user = User({**home, "OPENHERMES_PREFILL_AHEAD": setting}, keys)
    engine = CountingEngine([])
    user.session.engine = BackgroundEngine.around(engine)
    user.session.set_system("Be brief.")
    for _ in range(2):
        user.press_when(lambda: engine.prefills == prefilled, "/help\r")
        assert user.reader.read() == Line("/help")
    user.session.engine.close()
    assert engine.prefills == prefilled


@pytest.fixture
def hung(user: User) -> User:
    """A user whose server does not count tokens."""
    user.session.engine = BackgroundEngine.around(WaitingEngine([], lambda _messages: True))
    return user


def test_the_prompt_appears_soon_after_ctrl_c_although_the_server_hangs(hung: User) -> None:
    """The tokens are not counted again before the conversation changes."""
    hung.state.was_stopped = True
    hung.press_when(lambda: hung.reader._session.app.is_running, "one\r")
    begin = time.monotonic()
    assert hung.reader.read() == Line("one")
    assert time.monotonic() - begin < COUNT_AFTER_STOP_S + COUNT_AT_THE_PROMPT_S
    assert hung.state.context_used() is None
    assert hung.types("two\r") == Line("two")


def test_the_count_before_the_prompt_can_be_stopped(hung: User) -> None:
    """Nothing is prefilled then, because that needs a count, too."""
    threading.Timer(0.2, hung.state.stop_count).start()
    begin = time.monotonic()
    assert hung.types("one\r") == Line("one")
    assert 0.1 < time.monotonic() - begin < 0.2 + COUNT_AT_THE_PROMPT_S
    assert hung.session.engine._prefilling is None  # type: ignore[attr-defined]


def test_a_server_that_hangs_delays_the_keys_only_for_a_while(hung: User) -> None:
    """When the model has been loaded at the prompt."""
    begin = time.monotonic()
    assert hung.state.context_used() is None
    assert time.monotonic() - begin < COUNT_AT_THE_PROMPT_S + 5


class CountingEngine(ScriptedEngine):
    """Count the prefills."""

    prefills = 0

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        self.prefills += 1
        super().prefill(messages, cancel)


class ActingScreen(DummyOutput):
    """Calls a function when the prompt is drawn for the first time."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._actions = [action]

    def enable_bracketed_paste(self) -> None:
        while self._actions:
            self._actions.pop()()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """The handler of SIGTERM that `hermes` has."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("interrupts")
def test_no_signal_is_written_to_the_closed_pipe_of_the_event_loop(home: Env, keys: PosixPipeInput) -> None:
    """Python would print a traceback if Ctrl-C were pressed twice at the prompt."""
    wakeup_fds, tasks = [], []

    async def look_at_the_end_of_the_loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            wakeup_fds.append(signal.set_wakeup_fd(-1))

    def start() -> None:
        tasks.append(asyncio.get_running_loop().create_task(look_at_the_end_of_the_loop()))

    assert User(home, keys, sink=ActingScreen(start)).types("a\r") == Line("a")
    assert wakeup_fds == [-1]


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("typed", ["half a line", CTRL_C, CTRL_D, "line\r"])
def test_sigterm_ends_the_prompt(home: Env, keys: PosixPipeInput, typed: str) -> None:
    """It does so even if a key ends the prompt at the same time, and the program's handler is restored."""
    before = signal.getsignal(signal.SIGTERM)
    user = User(home, keys, sink=ActingScreen(lambda: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(Interrupted) as raised:
        user.types(typed)
    assert raised.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
