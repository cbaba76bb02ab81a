"""A spinner on standard error during a wait; it is erased before anything else is written."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hermes_cli.screen.cells import cell_count, cut
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.terminal import DIM, RESET, Terminal

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PATIENCE_S = 0.4
"""Seconds before the spinner appears; it is not shown for shorter waits."""
FRAME_S = 0.1
MAX_CHARACTERS = 1000


@contextmanager
def waiting(terminal: Terminal, text: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """Show a spinner with the result of `text` until the yielded function is called or the block ends."""
    if terminal.quiet or not (terminal.stderr_is_tty and terminal.stdout_is_tty and terminal.obeys):
        yield lambda: None
        return
    spinner = _Spinner(terminal, text)
    spinner.start()
    try:
        yield spinner.stop
    finally:
        spinner.stop()


class _Spinner(threading.Thread):
    def __init__(self, terminal: Terminal, text: Callable[[], str]) -> None:
        super().__init__(name="waiting", daemon=True)
        self._terminal = terminal
        self._text = text
        self._over = threading.Event()
        self._cells = 0
        """The width of the line on the screen."""

    def run(self) -> None:
        """Draw one frame after another."""
        delay, frame = PATIENCE_S, 0
        while not self._over.wait(delay):
            width = self._terminal.size()[0]
            text = sanitize_line(self._text(), MAX_CHARACTERS)
            line = cut(f"{FRAMES[frame % len(FRAMES)]} {text}", max(2, width - 1))
            self._write(f"{self._back()}\r{DIM}{line}{RESET}\x1b[K")
            self._cells, delay, frame = cell_count(line), FRAME_S, frame + 1

    def stop(self) -> None:
        """Stop the spinner, and clear its line."""
        self._over.set()
        if self.is_alive():
            self.join()
        if self._cells:
            self._write(f"{self._back()}\r\x1b[K")
            self._cells = 0

    def _back(self) -> str:
        """Return the output that erases the extra rows of the line if the terminal has become narrower."""
        rows = -(-self._cells // max(1, self._terminal.size()[0])) if self._terminal.reflows else 1
        return f"\x1b[{rows - 1}A\r\x1b[J" if rows > 1 else ""

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # standard error is closed
            self._terminal.stderr.write(text)
            self._terminal.stderr.flush()
