"""rich's `Live(Markdown(text so far))`, as programs commonly use it: a peer of rows C5 and C6.

The display is updated with the text at every token, and repaints four times a second, which is its default.
Here these are seconds of the simulated clock, instead of its thread. Text that does not fit the screen is
shown, too.
"""

from collections.abc import Iterator

from rich.live import Live
from rich.markdown import Markdown

from benchmarks.peers.rich_terminal import console, picture
from benchmarks.peers.streaming import Clock, Sink, main

INTERVAL_S = 0.25


def show(sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
    """Show the text as it arrives, and return the number of repaints."""
    text, due, looks = "", 0.0, 1
    with Live(console=console(sink), auto_refresh=False, vertical_overflow="visible") as live:
        for piece in arriving:
            text += piece
            live.update(Markdown(text))
            if clock.now >= due:
                live.refresh()
                due, looks = clock.now + INTERVAL_S, looks + 1
    return looks


if __name__ == "__main__":
    main(show, picture)
