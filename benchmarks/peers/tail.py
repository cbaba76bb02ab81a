"""aider's method: stable lines are printed once, the last six stay in a Live. A peer of rows C5 and C6.

Each repaint renders the whole text so far with rich. There are at most twenty repaints per second; if a
render is slow, the next repaint waits ten times as long, but at most two seconds. That time is real CPU time,
so the number of repaints differs between machines. The lines are passed on as rich's segments, which spares
this peer the conversion to a string and back.
"""

import time
from collections.abc import Iterator

from rich.live import Live
from rich.markdown import Markdown
from rich.segment import SegmentLines

from benchmarks.peers.rich_terminal import console, picture
from benchmarks.peers.streaming import Clock, Sink, main

TAIL = 6
INTERVAL_S, LONGEST_S, SHARE = 0.05, 2.0, 10


class Tail:
    """A text of which all but the last lines are final on the terminal."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._printed = 0

    def look(self, text: str, tail: int = TAIL) -> float:
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
        return min(max(INTERVAL_S, SHARE * cost), LONGEST_S)


def show(sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
    """Show the text as it arrives, and return the number of repaints."""
    text, due, looks = "", 0.0, 1
    with Live(console=console(sink), auto_refresh=False) as live:
        tail = Tail(live)
        for piece in arriving:
            text += piece
            if clock.now >= due:
                due, looks = clock.now + tail.look(text), looks + 1
        tail.look(text, 0)
    return looks


if __name__ == "__main__":
    main(show, picture)
