"""Two ways to show growing Markdown with rich, on a terminal of 256 colors, as most have."""

import io
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import SegmentLines

from benchmarks.streaming import COLUMNS, ROWS, Clock, Sink, stream

LIVE_INTERVAL_S = 0.25
TAIL_LINES = 6
TAIL_INTERVAL_S, TAIL_LONGEST_S, TAIL_SHARE = 0.05, 2.0, 10


class _Text(io.TextIOWrapper):
    def close(self) -> None:
        """Leave the sink open, since its bytes are counted after the console is closed."""


def console(sink: Sink) -> Console:
    text = _Text(sink, encoding="utf-8", write_through=True)
    return Console(file=text, force_terminal=True, color_system="256", width=COLUMNS, height=ROWS)


def picture(sink: Sink, text: str) -> None:
    console(sink).print(Markdown(text))


def show_live(sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
    """Show `Live(Markdown(text so far))`, which repaints four times a second, its default, of the clock."""
    text, due, repaints = "", 0.0, 1
    with Live(console=console(sink), auto_refresh=False, vertical_overflow="visible") as live:
        for piece in arriving:
            text += piece
            live.update(Markdown(text))
            if clock.now >= due:
                live.refresh()
                due, repaints = clock.now + LIVE_INTERVAL_S, repaints + 1
    return repaints


class Tail:
    """aider's method: stable lines are printed once, the last six stay in a Live.

    The next repaint waits ten times as long as the last one took, so their number differs between machines.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._printed = 0

    def repaint(self, text: str, tail: int = TAIL_LINES) -> float:
        """Show the text so far, and return the seconds until the next repaint is due."""
        console = self._live.console
        began = time.process_time()
        lines = console.render_lines(Markdown(text), pad=False)
        cost = time.process_time() - began
        stable = max(self._printed, len(lines) - tail)
        if stable > self._printed:
            console.print(SegmentLines(lines[self._printed : stable], new_lines=True), end="")
            self._printed = stable
        self._live.update(SegmentLines(lines[stable:], new_lines=True), refresh=True)
        return min(max(TAIL_INTERVAL_S, TAIL_SHARE * cost), TAIL_LONGEST_S)


def show_tail(sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
    text, due, repaints = "", 0.0, 1
    with Live(console=console(sink), auto_refresh=False) as live:
        tail = Tail(live)
        for piece in arriving:
            text += piece
            if clock.now >= due:
                due, repaints = clock.now + tail.repaint(text), repaints + 1
        tail.repaint(text, 0)
    return repaints


def stream_live(texts: list[str]) -> list[dict[str, Any]]:
    return stream(show_live, picture, texts, exact=False)


def stream_tail(texts: list[str]) -> list[dict[str, Any]]:
    return stream(show_tail, picture, texts, exact=False)
