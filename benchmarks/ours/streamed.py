"""The hermes side of rows C5 and C6: a MarkdownRenderer over a Terminal, on the simulated clock."""

import io
from collections.abc import Iterator

from benchmarks.peers.streaming import Clock, Sink, main
from hermes_cli.screen.render import MarkdownRenderer
from hermes_cli.screen.terminal import Terminal

NEVER = -1.0
"""A time at which no repaint is due."""


def show(sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
    """Show the text as it arrives. Return the number of repaints that wrote something."""
    shows = MarkdownRenderer(_terminal(sink), clock=clock.read)
    for piece in arriving:
        shows.write(piece)
    shows.end()
    return sink.flushes


def picture(sink: Sink, text: str) -> None:
    """Show the text once, without a repaint before its end, which is the smallest output for it."""
    shows = MarkdownRenderer(_terminal(sink), clock=lambda: NEVER)
    shows.write(text)
    shows.end()


def _terminal(sink: Sink) -> Terminal:
    """Return a terminal of 80x24, the default size if the real one is unknown."""
    return Terminal(
        io.BytesIO(),
        sink,
        io.StringIO(),
        stdin_is_tty=True,
        stdout_is_tty=True,
        stderr_is_tty=True,
        obeys=True,
        colour=True,
    )


if __name__ == "__main__":
    main(show, picture)
