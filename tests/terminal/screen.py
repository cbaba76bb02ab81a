"""A terminal for tests: hermes on a pty, with a screen that pyte keeps."""

import os
import re
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pexpect
import pyte

PATIENCE_S = 30.0
PROMPT = r"^> $|^>$"
ENDLESS_TURN = {"text": "tick ", "forever": True, "delay": 0.02}
"""A turn of the scripted engine that does not end before it is stopped."""


class Screen(pyte.HistoryScreen):
    """A screen that keeps the characters after a joiner.

    pyte takes a zero-width character that does not combine, such as the joiner in a family's emoji, for the
    end of the text that it draws.
    """

    def draw(self, data: str) -> None:
        for piece in [data] if data.isascii() else data:
            super().draw(piece)


class Terminal:
    """A running hermes, the text on its screen, and keys to press.

    If a file `stdin` is given, it is hermes' standard input instead of the terminal.
    """

    screen_class = Screen

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        columns: int = 100,
        rows: int = 30,
        folder: Path | None = None,
        *,
        stdin: Path | None = None,
    ) -> None:
        self._screen: Any = self.screen_class(columns, rows, history=5000)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        command = [sys.executable, "-m", "hermes_cli", *arguments]
        if stdin is not None:
            command = ["/bin/sh", "-c", 'exec "$@" <"$0"', str(stdin), *command]
        self.child: Any = pexpect.spawn(
            command[0],
            command[1:],
            cwd=folder,
            env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **env},
            dimensions=(rows, columns),
            timeout=PATIENCE_S,
        )
        self.child.delaybeforesend = None
        self._screen.write_process_input = self.child.send  # type: ignore[method-assign] # hermes asks for the cursor's position

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.child.closed:
            self.child.close(force=True)

    def _read(self) -> bool:
        """Read the new output of hermes; return False if hermes has ended."""
        try:
            data = self.child.read_nonblocking(65536, timeout=0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    @property
    def text(self) -> str:
        """The screen with its scrollback, one line for each row, without trailing blanks."""
        above = [
            "".join(line[x].data for x in range(self._screen.columns)) for line in self._screen.history.top
        ]
        return "\n".join(line.rstrip() for line in [*above, *self._screen.display]).rstrip()

    @property
    def cursor_hidden(self) -> bool:
        """Whether the cursor is hidden."""
        return bool(self._screen.cursor.hidden)

    @property
    def marks_pastes(self) -> bool:
        """Whether the terminal marks the beginning and the end of a paste."""
        return (2004 << 5) in self._screen.mode

    def expect(self, pattern: str, seconds: float = PATIENCE_S) -> str:
        """Wait until the pattern is on the screen, and return the text of the screen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            alive = self._read()
            if re.search(pattern, self.text, re.MULTILINE):
                return self.text
            if not alive:
                break
        message = f"{pattern!r} did not appear; the screen:\n{self.text}"
        raise AssertionError(message)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def cell(self, word: str) -> Any:
        """Return the first cell of a word, with its colors, in the last row that holds the word."""
        for line, text in reversed(list(enumerate(self._screen.display))):
            if word in text:
                return self._screen.buffer[line][text.index(word)]
        raise AssertionError(f"{word!r} is not on the screen:\n{self.text}")

    def type(self, keys: str) -> None:
        """Press keys."""
        self.child.send(keys)

    def leave(self) -> int:
        """Wait for hermes to end and return the exit code, 128 + n for signal n."""
        end = time.monotonic() + PATIENCE_S
        while self._read() and time.monotonic() < end:
            pass
        self.child.wait()
        status: int = (
            self.child.exitstatus if self.child.exitstatus is not None else 128 + self.child.signalstatus
        )
        return status

    def wait_for_quiet_keys(self) -> None:
        """Wait until hermes has switched off the echo, which it does before its first prompt."""
        end = time.monotonic() + PATIENCE_S
        while termios.tcgetattr(self.child.child_fd)[3] & termios.ECHO:
            assert time.monotonic() < end, "hermes did not switch off the echo"
            time.sleep(0.005)

    def hang_up(self) -> int:
        """Close the terminal as a closed window does, and return the exit code."""
        self.child.ptyproc.fileobj.close()
        self.child.closed = self.child.ptyproc.closed = True
        _, status = os.waitpid(self.child.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def is_cooked(self) -> bool:
        """Whether the terminal echoes and reads lines, as a shell expects."""
        modes = termios.tcgetattr(self.child.child_fd)[3]
        return bool(modes & termios.ECHO and modes & termios.ICANON and modes & termios.ISIG)


@contextmanager
def at_the_prompt(
    model: str, env: Mapping[str, str], *flags: str, columns: int = 100, rows: int = 30
) -> Iterator[Terminal]:
    """Yield a chat with a model, at its prompt."""
    with Terminal(["chat", "-m", model, *flags], env, columns, rows) as term:
        term.expect(PROMPT)
        yield term
