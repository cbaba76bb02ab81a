"""Renderers: how an answer looks, chosen once from what standard output is and what was asked for.

Markdown for a person at a terminal, the text itself for a terminal that obeys nothing or who wants it plain,
and byte for byte anywhere else.
"""

import time
from collections.abc import Callable
from typing import Protocol

from hermes_cli.screen.sanitize import sanitize
from hermes_cli.screen.terminal import Terminal

INTERVAL_S = 0.05
"""Between two looks of a growing answer: at most 20 a second."""
SHARE = 10
"""One look may take this share of the time: where it takes long there are fewer."""


class Renderer(Protocol):
    """Shows one text as it comes."""

    def write(self, text: str) -> None:
        """Show the next piece. Raises ReaderGone where nobody reads any more."""

    def end(self) -> None:
        """Show what was held back, and leave the cursor at the beginning of a line."""


def renderer(terminal: Terminal, *, plain: bool = False, speech: bool = False) -> Renderer:
    """Return what shows an answer on standard output.

    `speech` tells what is said from what is done, for a character that acts.
    """
    if plain or not (terminal.stdout_is_tty and terminal.obeys):
        return PlainRenderer(terminal)
    return MarkdownRenderer(terminal, speech=speech)


class PlainRenderer:
    """The text as it is: sanitised at a terminal, untouched anywhere else."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last = ""

    def write(self, text: str) -> None:
        """Write the piece."""
        if text:
            self._terminal.write(text)
            self._last = text[-1]

    def end(self) -> None:
        """End the line; anywhere but at a terminal with one newline more, whatever came last."""
        if not self._terminal.stdout_is_tty or self._last not in {"", "\n"}:
            self._terminal.write("\n")


class MarkdownRenderer:
    """Markdown, painted at most every INTERVAL_S seconds of `clock`."""

    def __init__(
        self, terminal: Terminal, *, speech: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from hermes_cli.screen.markdown.stream import MarkdownStream  # noqa: PLC0415 - 0.1 s, at the first answer
        from hermes_cli.screen.paint import Painter  # noqa: PLC0415

        self._size = terminal.size
        self._stream = MarkdownStream(speech=speech)
        self._painter = Painter(terminal.put, self._size, colour=terminal.colour, reflows=terminal.reflows)
        self._clock = clock
        self._next = 0.0

    def write(self, text: str) -> None:
        """Take the piece, and show it where the last look was long enough ago."""
        self._stream.feed(sanitize(text))
        now = self._clock()
        if now >= self._next:
            self._paint(ended=False)
            cost = self._clock() - now
            self._next = now + max(INTERVAL_S, SHARE * cost)

    def end(self) -> None:
        """Show all that came."""
        self._paint(ended=True)
        self._painter.end()

    def _paint(self, *, ended: bool) -> None:
        self._painter.paint(*self._stream.rows(self._size()[0], ended=ended))
