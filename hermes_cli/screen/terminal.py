"""The three standard streams: detects terminals, writes to them, and restores them at the end.

This is the only module that checks whether a stream is a terminal. Tests pass other streams.
"""

import base64
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from hermes_cli.errors import Interrupted, ReaderGone, ResourcesExhausted, UsageError
from hermes_cli.screen.cells import cell_count
from hermes_cli.screen.columns import fitted
from hermes_cli.screen.sanitize import sanitize, sanitize_line

MANY_BYTES = 74_000
"""Maximum bytes of text that, encoded in base64, fit in the clipboard of most terminals."""
ANSWER_CELLS = 5
"""The cells that a question leaves free in its row for a space and the answer."""
MARK_PASTES, DO_NOT_MARK_PASTES = "\x1b[?2004h", "\x1b[?2004l"
SHOW_CURSOR = "\x1b[?25h"
BOLD, DIM, RED, MAGENTA, RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[35m", "\x1b[0m"


@dataclass(slots=True)
class Terminal:
    """The streams of this run. `stdout` and `stdin` are bytes; `stderr` is text.

    `obeys`: the terminal supports control sequences. `colour`: colors are not disabled by NO_COLOR.
    `reflows`: the terminal wraps its rows again when it becomes narrower. `styles_stderr`: standard error is
    styled, since it is a terminal or FORCE_COLOR is set. `clipboard`: a remark about a known limit of the
    terminal's clipboard, or an empty string. `quiet`: notices and progress are not printed.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[str]
    stdin_is_tty: bool
    stdout_is_tty: bool
    stderr_is_tty: bool
    obeys: bool = False
    styles_stderr: bool = False
    colour: bool = False
    reflows: bool = True
    clipboard: str = ""
    quiet: bool = False
    _modes: list[Any] | None = None
    """The modes of the terminal on standard input, to be restored at the end."""

    @classmethod
    def from_process(cls, environ: Mapping[str, str]) -> "Terminal":
        """Return the streams of this process. A closed stdin is empty; writing to a closed stdout fails."""
        stdin, stdout = _bytes_of(sys.stdin), _bytes_of(sys.stdout)
        if sys.stdout is None:
            stdout.close()
        stderr = sys.stderr or io.StringIO()
        err_tty = stderr.isatty()
        out_tty = sys.stdout is not None and stdout.isatty()
        dumb = environ.get("TERM") in {None, "", "dumb"}
        forced = bool(environ.get("FORCE_COLOR"))
        return cls(
            stdin,
            stdout,
            stderr,
            stdin.isatty(),
            out_tty,
            err_tty,
            obeys=not dumb,
            styles_stderr=forced or (err_tty and not dumb),
            colour=not environ.get("NO_COLOR"),
            clipboard=_obstacle(environ),
            reflows="XTERM_VERSION" not in environ and environ.get("TERM") != "linux",
        )

    @property
    def interactive(self) -> bool:
        """Whether the user types at a terminal and reads the answer there."""
        return self.stdin_is_tty and self.stdout_is_tty

    @property
    def asks(self) -> bool:
        """Whether the user can answer a question: standard input and standard error are terminals."""
        return self.stdin_is_tty and self.stderr_is_tty

    def size(self) -> tuple[int, int]:
        """Return the current columns and rows of the terminal on standard output or error, or 80 and 24."""
        for stream in (self.stdout, self.stderr):
            with suppress(OSError, ValueError):  # not a terminal, or it is gone
                size = os.get_terminal_size(stream.fileno())
                return (size.columns or 80), (size.lines or 24)
        return 80, 24

    def write(self, text: str) -> None:
        """Write to standard output: sanitized at a terminal, byte for byte anywhere else.

        Raises ReaderGone if the reader has closed it.
        """
        self._put((sanitize(text) if self.stdout_is_tty else text).encode("utf-8", "surrogateescape"))

    def put(self, text: str) -> None:
        """Write sanitized text, which may contain hermes' own control sequences, to the terminal.

        Raises ReaderGone if the reader has closed it.
        """
        self._put(text.encode("utf-8", "replace"))

    def copy(self, text: str) -> str:
        """Sanitize text and copy it to the terminal's clipboard with OSC 52, which also works over ssh.

        The terminal sends no reply, so return a remark about what may prevent the copy. Raises UsageError if
        standard output is not a terminal with control sequences.
        """
        if not (self.stdout_is_tty and self.obeys):
            raise UsageError("there is no terminal with a clipboard", "/export writes a file")
        data = sanitize(text).encode("utf-8", "replace")
        self.put(f"\x1b]52;c;{base64.b64encode(data).decode()}\x07")
        if len(data) > MANY_BYTES:
            return "Many terminals do not accept this much text."
        return self.clipboard or "If it cannot be pasted, the terminal does not allow it."

    def _put(self, data: bytes) -> None:
        try:
            self.stdout.write(data)
            self.stdout.flush()
        except (BrokenPipeError, ValueError):  # ValueError: stdout was closed before hermes started
            raise ReaderGone from None
        except OSError as error:
            if error.errno == errno.EIO and self.stdout_is_tty:
                raise Interrupted(signal.SIGHUP) from None  # the terminal itself is gone
            raise ResourcesExhausted(
                f"standard output cannot be written: {error.strerror}",
                "free some space, or write to another place",
            ) from None

    def plain(self, text: str) -> None:
        """Print text whose lines must stay as they are on standard error, sanitized and without wrapping."""
        self._say(text, "", fit=False)

    def prose(self, text: str) -> None:
        """Print requested information on standard error, sanitized, and wrapped at a terminal."""
        self._say(text, "")

    def rows(self, text: str) -> None:
        """Print rows in columns on standard error, sanitized. A narrow terminal shows each row as several."""
        self._say(fitted(text, self.size()[0], is_table=True) if self.stderr_is_tty else text, "")

    def write_rows(self, text: str) -> None:
        """Write rows in columns to standard output; at a terminal as `rows` prints them."""
        self.write((fitted(text, self.size()[0], is_table=True) if self.stdout_is_tty else text) + "\n")

    def has_room_for(self, text: str) -> bool:
        """Return whether no line of a text is wrapped on standard output."""
        width = max(map(cell_count, text.split("\n")))
        return not self.stdout_is_tty or width <= self.size()[0]

    def ask(self, question: str, *, discard_typed: bool = False) -> str:
        """Ask a question on standard error, and return the typed line; it is empty at the end of input.

        Ctrl-C ends the row of the question.
        With `discard_typed`, the lines that were typed before the question do not answer it.
        """
        with self.typing(shown=True):
            if discard_typed and self.stdin_is_tty:
                import termios

                termios.tcflush(self.stdin.fileno(), termios.TCIFLUSH)
            self.prompt(self._fitted_question(question))
            try:
                return self.stdin.readline().decode("utf-8", "replace")
            except (Interrupted, KeyboardInterrupt):
                self.prompt("\n")
                raise

    def _fitted_question(self, question: str) -> str:
        """Return a question wrapped between words, so that its last row has room for the answer."""
        if not self.stderr_is_tty:
            return question
        return f"{fitted(question.rstrip(), max(1, self.size()[0] - ANSWER_CELLS))} "

    def prompt(self, text: str) -> None:
        """Print a question or a prompt on standard error; the user types in the same row."""
        self.stderr.write(text)
        self.stderr.flush()

    def print_speaker(self, name: str) -> None:
        """Write the speaker's name on the line above a turn."""
        label = sanitize_line(name)
        style = BOLD + (MAGENTA if self.colour else "")
        self.put(f"{style}{label}{RESET}\n" if self.obeys and self.stdout_is_tty else f"{label}:\n")

    def notice(self, text: str, *, essential: bool = False) -> None:
        """Print a notice on standard error, dimmed and sanitized. If `quiet`, print only an essential one."""
        if essential or not self.quiet:
            self._say(text, DIM)

    def dimmed(self, text: str) -> None:
        """Print a piece of text on standard error, dimmed and sanitized, without a newline after it."""
        text = sanitize(text)
        with suppress(OSError, ValueError):  # standard error is closed
            self.stderr.write(f"{DIM}{text}{RESET}" if self.styles_stderr else text)
            self.stderr.flush()

    def error(self, text: str, hint: str = "") -> None:
        """Print an error on standard error, sanitized, and on the next line the hint, dimmed."""
        self._say(text, RED if self.colour else BOLD)
        if hint:
            self._say(hint, DIM)

    def _say(self, text: str, style: str, *, fit: bool = True) -> None:
        text = sanitize(text)
        if fit and self.stderr_is_tty:
            text = fitted(text, self.size()[0])
        try:
            self.stderr.write(f"{style}{text}{RESET}\n" if style and self.styles_stderr else f"{text}\n")
            self.stderr.flush()
        except (OSError, ValueError):
            return  # standard error is closed

    @contextmanager
    def typing(self, *, shown: bool) -> Iterator[None]:
        """Echo keys and read them line by line; if not `shown`, keep them unechoed for the next prompt.

        If not `shown`, Enter stays a carriage return, because prompt_toolkit reads a newline as Ctrl-J,
        Ctrl-C does not discard the keys, and the terminal marks pastes.
        """
        if not self.stdin_is_tty:
            yield
            return
        import termios

        descriptor = self.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        modes = [*before]
        local, translate = termios.ECHO | termios.ICANON, termios.ICRNL
        modes[0] = modes[0] | translate if shown else modes[0] & ~translate
        modes[3] = modes[3] | local if shown else modes[3] & ~local | termios.NOFLSH

        def apply(*_: object) -> None:
            with suppress(OSError, termios.error):  # SIGCONT also arrives when the terminal hangs up
                termios.tcsetattr(descriptor, termios.TCSANOW, modes)
                self.mark_pastes(marked=not shown)

        apply()
        resumed = signal.signal(signal.SIGCONT, apply)  # after Ctrl-Z the shell has set its own modes
        try:
            yield
        finally:
            signal.signal(signal.SIGCONT, resumed)
            with suppress(OSError, termios.error):  # the terminal itself may be gone
                termios.tcsetattr(descriptor, termios.TCSANOW, before)
                self.mark_pastes(marked=False)

    def mark_pastes(self, *, marked: bool = True) -> None:
        """Set whether the terminal marks pastes. Otherwise, each line of a paste would be sent as a turn.

        prompt_toolkit turns the marks off at the end of each prompt. May be called by a signal handler.
        """
        if self.obeys and self.interactive:
            with suppress(OSError):
                os.write(self.stdout.fileno(), (MARK_PASTES if marked else DO_NOT_MARK_PASTES).encode())

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Restore the terminal's modes, cursor and paste mode at the end, even after an error."""
        if self.stdin_is_tty:
            self._remember_modes()
        try:
            yield
        finally:
            if self._modes is not None:
                self._restore_modes(self._modes)

    def switch_to_keyboard(self) -> None:
        """Replace a standard input that was a pipe by the controlling terminal, if there is one.

        Child processes, such as the user's editor, inherit it.
        """
        if self.stdin_is_tty:
            return
        with suppress(OSError, ValueError):  # there is no terminal, or standard input is closed
            descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
            try:
                os.dup2(descriptor, self.stdin.fileno())
            finally:
                os.close(descriptor)
            self.stdin_is_tty = True
            self._remember_modes()

    def _remember_modes(self) -> None:
        import termios

        self._modes = termios.tcgetattr(self.stdin.fileno())

    def _restore_modes(self, modes: list[Any]) -> None:
        import termios

        descriptor = self.stdin.fileno()
        with suppress(OSError, termios.error):  # the terminal itself is gone, for example after SIGHUP
            changed = termios.tcgetattr(descriptor) != modes
            termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)
            if changed and self.stdout_is_tty:  # a prompt was interrupted
                os.write(self.stdout.fileno(), (SHOW_CURSOR + DO_NOT_MARK_PASTES).encode())


def _bytes_of(stream: IO[str] | None) -> IO[bytes]:
    if stream is None:
        return io.BytesIO()
    buffer: IO[bytes] = stream.buffer  # type: ignore[attr-defined]
    return buffer


def _obstacle(environ: Mapping[str, str]) -> str:
    """Return a remark about a known limit of the terminal's clipboard, or an empty string."""
    term = environ.get("TERM", "")
    if environ.get("TMUX"):
        return "tmux passes it on only with 'set -g set-clipboard on'."
    if term.startswith("screen"):
        return "screen does not pass it on."
    if environ.get("TERM_PROGRAM") == "Apple_Terminal":
        return "Apple's Terminal does not support it."
    if environ.get("VTE_VERSION"):
        return "GNOME Terminal and its relatives support it only in recent versions."
    if term == "linux":
        return "The Linux console has no clipboard."
    return ""
