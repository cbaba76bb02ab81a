"""A spinner on standard error during a wait; it is erased before anything else is written."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hermes_cli.screen.cells import cut
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.terminal import DIM, RESET, Terminal

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PATIENCE_S = 0.4
"""Seconds before the spinner appears; a shorter wait shows none."""
FRAME_S = 0.1
MAX_WORDS = 1000


@contextmanager
def waiting(terminal: Terminal, words: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """Show a spinner and the text of `words` until the yielded function is called or the block ends."""
    if not (terminal.stderr_is_tty and terminal.stdout_is_tty and terminal.obeys):
        yield lambda: None
        return
    line = _Line(terminal, words)
    line.start()
    try:
        yield line.stop
    finally:
        line.stop()


class _Line(threading.Thread):
    def __init__(self, terminal: Terminal, words: Callable[[], str]) -> None:
        super().__init__(name="waiting", daemon=True)
        self._terminal = terminal
        self._words = words
        self._over = threading.Event()
        self._shown = False

    def run(self) -> None:
        """Draw one frame after another."""
        delay, frame = PATIENCE_S, 0
        while not self._over.wait(delay):
            width = self._terminal.size()[0]
            words = sanitize_line(self._words(), MAX_WORDS)
            text = cut(f"{FRAMES[frame % len(FRAMES)]} {words}", max(2, width - 1))
            self._write(f"\r{DIM}{text}{RESET}\x1b[K")
            self._shown, delay, frame = True, FRAME_S, frame + 1

    def stop(self) -> None:
        """Stop the spinner, and clear its line."""
        self._over.set()
        if self.is_alive():
            self.join()
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # standard error is closed
            self._terminal.stderr.write(text)
            self._terminal.stderr.flush()
