"""The hermes side of rows C5 and C6: a MarkdownRenderer over a Terminal, on the simulated clock."""

import io
from collections.abc import Iterator

from benchmarks.peers.streaming import Clock, Sink, main
from hermes_cli.screen.render import MarkdownRenderer
from hermes_cli.screen.terminal import Terminal

NEVER = -1.0
"""A time at which no look is due."""


def show(sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
    """Show the text as it comes. The looks are those that wrote something."""
    shows = MarkdownRenderer(_terminal(sink), clock=clock.read)
    for piece in arriving:
        shows.write(piece)
    shows.end()
    return sink.flushes


def picture(sink: Sink, text: str) -> None:
    """Show the text once, without a look before its end: there is no smaller picture of it."""
    shows = MarkdownRenderer(_terminal(sink), clock=lambda: NEVER)
    shows.write(text)
    shows.end()


def _terminal(sink: Sink) -> Terminal:
    """Return a terminal of 80x24, which is the size of one that cannot be asked."""
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
