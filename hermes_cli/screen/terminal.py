"""What hermes is connected to: the three streams, which of them are terminals, and how to leave them.

This is the one place that asks whether something is a terminal. Tests give it other streams.
"""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from hermes_cli.errors import Interrupted, ReaderGone, ResourcesExhausted
from hermes_cli.screen.columns import fitted
from hermes_cli.screen.sanitize import sanitize, sanitize_line

SHOW_CURSOR_AND_END_PASTE = "\x1b[?25h\x1b[?2004l"
BOLD, DIM, RED, MAGENTA, RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[35m", "\x1b[0m"


@dataclass(slots=True)
class Terminal:
    """The streams of this run. `stdout` and `stdin` are bytes; `stderr` is text.

    Where one of them is a terminal, `obeys` says that it understands control sequences, `colour` that
    colours are wanted, and `reflows` that it breaks its rows anew when it becomes narrower. `styles_stderr`
    is whether standard error takes styles, at a terminal or where FORCE_COLOR asks for them. `clipboard` is
    what is known to keep its clipboard from taking a text.
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

    @classmethod
    def from_process(cls, environ: Mapping[str, str]) -> "Terminal":
        """Return the streams of this process. One that was closed reads as empty, or has no reader."""
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
        """Whether a person types here and reads the answer."""
        return self.stdin_is_tty and self.stdout_is_tty

    def size(self) -> tuple[int, int]:
        """Return the columns and rows of the terminal on standard output, as they are now."""
        try:
            size = os.get_terminal_size(self.stdout.fileno())
        except (OSError, ValueError):  # it is none, or is gone
            return 80, 24
        return (size.columns or 80), (size.lines or 24)

    def write(self, text: str) -> None:
        """Write to standard output: sanitised at a terminal, byte for byte anywhere else.

        Raises ReaderGone where the reader has closed it.
        """
        self._put((sanitize(text) if self.stdout_is_tty else text).encode("utf-8", "surrogateescape"))

    def put(self, text: str) -> None:
        """Write to the terminal what is safe as it is: sanitised before, with hermes' own control sequences.

        Raises ReaderGone where the reader has closed it.
        """
        self._put(text.encode("utf-8", "replace"))

    def _put(self, data: bytes) -> None:
        try:
            self.stdout.write(data)
            self.stdout.flush()
        except (BrokenPipeError, ValueError):  # ValueError: it was closed before hermes began
            raise ReaderGone from None
        except OSError as error:
            if error.errno == errno.EIO and self.stdout_is_tty:
                raise Interrupted(signal.SIGHUP) from None  # the terminal itself is gone
            raise ResourcesExhausted(
                f"standard output cannot be written: {error.strerror}", "free some space, or write elsewhere"
            ) from None

    def plain(self, text: str) -> None:
        """Say what was asked for beside the answer, on standard error, sanitised; lines stay as they are."""
        self._say(text, "", fit=False)

    def rows(self, text: str) -> None:
        """Say rows that are set in columns, on standard error, sanitised."""
        self._say(text, "")

    def ask(self, question: str) -> str:
        """Return the line that is typed in answer to a question on standard error; empty at its end."""
        with self.typing(shown=True):
            self.stderr.write(question)
            self.stderr.flush()
            return self.stdin.readline().decode("utf-8", "replace")

    def speaker(self, name: str) -> None:
        """Write whose turn begins, in the line above its text."""
        label = sanitize_line(name)
        style = BOLD + (MAGENTA if self.colour else "")
        self.put(f"{style}{label}{RESET}\n" if self.obeys and self.stdout_is_tty else f"{label}:\n")

    def notice(self, text: str) -> None:
        """Say something beside the answer, on standard error, dim, sanitised."""
        self._say(text, DIM)

    def error(self, text: str) -> None:
        """Say what went wrong, on standard error, sanitised."""
        self._say(text, RED if self.colour else BOLD)

    def _say(self, text: str, style: str, *, fit: bool = True) -> None:
        text = sanitize(text)
        if fit and self.stderr_is_tty:
            text = fitted(text, self.size()[0])
        try:
            self.stderr.write(f"{style}{text}{RESET}\n" if style and self.styles_stderr else f"{text}\n")
            self.stderr.flush()
        except (OSError, ValueError):
            return  # nobody is left to be told

    @contextmanager
    def typing(self, *, shown: bool) -> Iterator[None]:
        """Show keys as they are pressed, line by line; or keep them, unseen, for the next prompt.

        Unseen, Enter stays a carriage return: prompt_toolkit takes a newline for Ctrl-J.
        """
        if not self.stdin_is_tty:
            yield
            return
        import termios  # noqa: PLC0415 - see `restored`

        descriptor = self.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        modes = [*before]
        local, translate = termios.ECHO | termios.ICANON, termios.ICRNL
        modes[0] = modes[0] | translate if shown else modes[0] & ~translate
        modes[3] = modes[3] | local if shown else modes[3] & ~local

        def apply(*_: object) -> None:
            with suppress(OSError, termios.error):  # a terminal that hangs up sends SIGCONT, too
                termios.tcsetattr(descriptor, termios.TCSANOW, modes)

        apply()
        resumed = signal.signal(signal.SIGCONT, apply)  # after Ctrl-Z the shell has set its own
        try:
            yield
        finally:
            signal.signal(signal.SIGCONT, resumed)
            with suppress(OSError, termios.error):  # the terminal itself may be gone
                termios.tcsetattr(descriptor, termios.TCSANOW, before)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Leave the terminal as it was found, whatever happens inside: modes, cursor, paste."""
        if not self.stdin_is_tty:
            yield
            return
        import termios  # noqa: PLC0415 - not there on every system, and needed only at a terminal

        descriptor = self.stdin.fileno()
        modes = termios.tcgetattr(descriptor)
        try:
            yield
        finally:
            with suppress(OSError, termios.error):  # the terminal itself is gone, as after SIGHUP
                changed = termios.tcgetattr(descriptor) != modes
                termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)
                if changed and self.stdout_is_tty:  # a prompt was cut off in the middle
                    os.write(self.stdout.fileno(), SHOW_CURSOR_AND_END_PASTE.encode())


def _bytes_of(stream: IO[str] | None) -> IO[bytes]:
    if stream is None:
        return io.BytesIO()
    buffer: IO[bytes] = stream.buffer  # type: ignore[attr-defined]
    return buffer


def _obstacle(environ: Mapping[str, str]) -> str:
    """Return what is known to keep a terminal's clipboard from taking a text, in words, or nothing."""
    term = environ.get("TERM", "")
    if environ.get("TMUX"):
        return "tmux passes it on only with 'set -g set-clipboard on'."
    if term.startswith("screen"):
        return "screen does not pass it on."
    if environ.get("TERM_PROGRAM") == "Apple_Terminal":
        return "Apple's Terminal does not take it."
    if environ.get("VTE_VERSION"):
        return "Terminals like GNOME's took it late, and older ones do not."
    if term == "linux":
        return "The console has no clipboard."
    return ""
