"""Renderers, which display an answer on standard output.

At a terminal, Markdown is rendered, or the text is only sanitized if the terminal has no control sequences or
plain text is requested. In a pipe or a file, the text is written unchanged.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from hermes_cli.errors import HermesError, Interrupted
from hermes_cli.screen.sanitize import sanitize
from hermes_cli.screen.terminal import Terminal

INTERVAL_S = 0.05
"""Minimum seconds between two repaints of a growing answer."""
LATE_S = 0.2
"""If no text follows for so many seconds, text that is not painted yet is painted."""
MARKDOWN_LIMIT = 64 * 1024
"""Characters of an answer that are rendered as Markdown. The rest is plain."""
MARKDOWN_COST_US = 700_000
"""Estimated CPU time of an answer's Markdown, in microseconds. The rest is plain: hostile text takes seconds.
Ordinary text and code of MARKDOWN_LIMIT characters is estimated at less than 400,000."""
SHARE = 10
"""Repaints take at most about 1/SHARE of the time; slow ones are done less often."""


class Renderer(Protocol):
    """Displays text while it is generated."""

    def write(self, text: str) -> None:
        """Display the next piece. Raises ReaderGone if the reader has closed standard output."""

    def end(self) -> None:
        """Display text that was held back, and leave the cursor at the beginning of a line."""


def renderer(terminal: Terminal, *, plain: bool = False, speech: bool = False) -> Renderer:
    """Return a renderer for an answer on standard output.

    `speech` highlights text in quotation marks, for a character whose answers also describe actions.
    """
    if plain or not (terminal.stdout_is_tty and terminal.obeys):
        return PlainRenderer(terminal)
    return MarkdownRenderer(terminal, speech=speech)


class PlainRenderer:
    """Writes the text without rendering: sanitized at a terminal, unchanged elsewhere."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last = ""

    def write(self, text: str) -> None:
        """Write the piece."""
        if text:
            self._terminal.write(text)
            self._last = text[-1]

    def end(self) -> None:
        """End the line. Outside a terminal, write one newline even if the text ends with one."""
        if not self._terminal.stdout_is_tty or self._last not in {"", "\n"}:
            self._terminal.write("\n")


class MarkdownRenderer:
    """Renders Markdown, and repaints at most once every INTERVAL_S seconds of `clock`.

    The last pieces before a pause of the model are painted on a thread. After MARKDOWN_LIMIT characters or an
    estimated cost of MARKDOWN_COST_US, the rest of the text is written without rendering.
    """

    def __init__(
        self, terminal: Terminal, *, speech: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from hermes_cli.screen.markdown.cost import Allowance
        from hermes_cli.screen.markdown.stream import MarkdownStream
        from hermes_cli.screen.paint import Painter

        self._size = terminal.size
        self._stream = MarkdownStream(speech=speech)
        self._painter = Painter(terminal.put, self._size, colour=terminal.colour, reflows=terminal.reflows)
        self._clock = clock
        self._next = 0.0
        self._unpainted_at: float | None = None
        """When text was added that is not painted yet."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._late_painter = threading.Thread(target=self._paint_late, name="late painter", daemon=True)
        self._allowance = Allowance(MARKDOWN_LIMIT, MARKDOWN_COST_US)
        self._plain: PlainRenderer | None = None
        self._terminal = terminal

    def write(self, text: str) -> None:
        """Add the piece, and repaint if the last repaint was long enough ago."""
        with self._lock:
            self._write(text)

    def end(self) -> None:
        """Paint the remaining text, and move the cursor below it."""
        self._ended.set()
        with self._lock:
            self._end()

    def _write(self, text: str) -> None:
        if self._plain is not None:
            self._plain.write(text)
            return
        markdown = self._allowance.take(text)
        self._stream.feed(sanitize(markdown))
        if len(markdown) < len(text):
            self._end()
            self._plain = PlainRenderer(self._terminal)
            self._plain.write(text[len(markdown) :])
            return
        now = self._clock()
        if now >= self._next:
            self._paint_growing(now)
        else:
            self._unpainted_at = now
            if self._late_painter.ident is None:
                self._late_painter.start()

    def _paint_late(self) -> None:
        """Until the end, paint text that is LATE_S old."""
        while not self._ended.wait(LATE_S):
            with self._lock:
                at, now = self._unpainted_at, self._clock()
                if at is None or self._ended.is_set() or now - at < LATE_S:
                    continue
                try:
                    self._paint_growing(now)
                except (HermesError, Interrupted):  # the terminal is gone, which the next piece reports
                    return

    def _paint_growing(self, now: float) -> None:
        self._paint(ended=False)
        self._next = now + max(INTERVAL_S, SHARE * (self._clock() - now))

    def _end(self) -> None:
        if self._plain is not None:
            self._plain.end()
            return
        self._paint(ended=True)
        self._painter.end()

    def _paint(self, *, ended: bool) -> None:
        self._unpainted_at = None
        self._painter.paint(*self._stream.rows(self._size()[0], ended=ended))
