"""render-cost: CPU time per token of a growing answer on a terminal, and whether it rises with the length.

Measured: CPU time of the streaming alone, in a separate process that writes to a terminal of 80x24 in memory,
with one token per 20 ms of a simulated clock. An answer of 16k tokens is split between its blocks into
answers of 4k and of 0.5k tokens, so that every length is measured on the same words. Peers: rich's
`Live(Markdown(text))` and aider's method, on the first of the answers of 4k; all of them would take many
minutes. hermes repaints up to twenty times per second, rich four times, and aider's method as often as
hermes, or less often if a render is slow.

terminal-bytes: the bytes that the same sides write, over those of the final picture, which is the whole text
shown at once by the same side. aider's bytes differ between machines, since it repaints less often on a slow
one.

Gate of both: the final screen with its scrollback equals, cell for cell, that of the whole text shown at
once, and contains every word of it; every repeat writes the same bytes. For the peers only that the words
were written.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.answer_text import answers
from benchmarks.measure import KIB, Bench, Repeats, interleave
from benchmarks.report import Goal, Line
from benchmarks.streaming import Clock, Sink, stream
from hermes_cli.screen.render import MarkdownRenderer
from hermes_cli.screen.terminal import Terminal

FLAT = Goal("≤", 1.2)
BYTES = Goal("≤", 1.2)
PEERS = {
    "rich Live(Markdown)": ("benchmarks.peers.rich_screens:stream_live", Goal("≤", 1 / 50)),
    "aider's method": ("benchmarks.peers.rich_screens:stream_tail", None),
}
"""By peer: its function, and the goal for the cost of a repaint."""
SIZES = (500, 4000, 16_000)
"""Tokens of a short answer, of a long one, and of the whole text, which is also shown as one answer."""
NEVER = -1.0
"""A time at which no repaint is due."""

Sizes = tuple[int, int, int]
Records = Sequence[dict[str, Any]]


def show(sink: Sink, clock: Clock, arriving: Iterator[str]) -> int:
    """Show the text as it arrives. Return the number of repaints that wrote something."""
    renderer = _renderer(sink, lambda: clock.now)
    for piece in arriving:
        renderer.write(piece)
    renderer.end()
    return sink.flushes


def picture(sink: Sink, text: str) -> None:
    """Show the text once, without a repaint before its end, which is the smallest output for it."""
    renderer = _renderer(sink, lambda: NEVER)
    renderer.write(text)
    renderer.end()


def _renderer(sink: Sink, clock: Callable[[], float]) -> MarkdownRenderer:
    streams = (io.BytesIO(), sink, io.StringIO())
    is_tty = (True, True, True)
    return MarkdownRenderer(Terminal(*streams, *is_tty, obeys=True, colour=True), clock=clock)


def stream_hermes(texts: list[str]) -> list[dict[str, Any]]:
    return stream(show, picture, texts, exact=True)


def run_sides(bench: Bench, sizes: Sizes, repeats: int) -> Repeats[Records]:
    """Run hermes with each size, and the peers with the first answer of the second size."""
    _, long, total = sizes
    calls: dict[str, tuple[Any, list[str]]] = {
        f"hermes {k(size)}": (stream_hermes, answers(total, size)) for size in sizes
    }
    calls |= {peer: (function, answers(total, long)[:1]) for peer, (function, _) in PEERS.items()}
    sides = {
        side: lambda function=function, texts=texts: bench.call(function, texts=texts).value
        for side, (function, texts) in calls.items()
    }
    return interleave(sides, repeats, bench.patience_s, warm_up=False)


def k(size: int) -> str:
    return f"{size / 1000:g}k"


def measure(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    return lines(run_sides(bench, sizes, bench.repeats), sizes)


def measure_bytes(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    """Measure once, since hermes' bytes are the same every time."""
    runs = run_sides(bench, sizes, 1)
    return [bytes_line(side, records) for side, (records,) in runs.results.items()]


def lines(runs: Repeats[Records], sizes: Sizes = SIZES) -> list[Line]:

    def line(what: str, per: str, hermes: str, peer: str, goal: Goal | None = None) -> Line:
        wrong = gate(runs.results[hermes]) or fault(runs.results[peer])
        first = 1 if peer in PEERS else None  # the peers show only the first answer
        value = _milliseconds(per, first)
        return runs.line(f"CPU per {what}", "ms", value, (hermes, peer), goal=goal, wrong=wrong)

    short, long, total = (k(size) for size in sizes)
    made = [
        line(f"token, {size} beside {short}", "tokens", f"hermes {size}", f"hermes {short}", goal)
        for size, goal in ((total, FLAT), (long, None))
    ]
    for peer, (_, goal) in PEERS.items():
        made += [
            line(f"token, {long}, beside {peer}", "tokens", f"hermes {long}", peer),
            line(f"repaint, {long}, beside {peer}", "repaints", f"hermes {long}", peer, goal),
        ]
    return made


def _milliseconds(per: str, first: int | None) -> Callable[[Records], float]:
    return lambda records: (
        1000 * sum(one["cpu_s"] for one in records[:first]) / sum(one[per] for one in records[:first])
    )


def bytes_line(side: str, records: Records) -> Line:
    written, shown = (sum(one[what] for one in records) / KIB for what in ("written", "picture"))
    goal = BYTES if side.startswith("hermes") else None
    what = f"bytes beside the final picture's, {side}"
    return Line(what, "KiB", written, shown, goal, fault([records]))


def fault(repeats: Sequence[Records]) -> str:
    return next((one["fault"] for records in repeats for one in records if one["fault"]), "")


def gate(repeats: Sequence[Records]) -> str:
    """Return the first fault, or an error text if a repeat wrote other bytes than the first."""
    if len({tuple(one["digest"] for one in records) for records in repeats}) > 1:
        return "not every repeat wrote the same bytes"
    return fault(repeats)
