"""render-cost: CPU time per token of a growing answer on a terminal, and whether it rises with the length.

Measured: CPU time of the streaming alone, in a process that writes to a terminal in memory, with one token
per 20 ms of a simulated clock. Every length is measured on the same words. Peers, on the first of the answers
of 4k: rich's `Live(Markdown(text))` and aider's method.

terminal-bytes: the bytes that the same sides write, over those of the whole text shown at once.

Gate of both: the final screen with its scrollback equals, cell for cell, that of the whole text shown at
once, and contains every word of it; every repeat writes the same bytes. For the peers only that the words
were written.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
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
    _render(sink, lambda: clock.now, arriving)
    return sink.flushes


def picture(sink: Sink, text: str) -> None:
    """Show the text once, without a repaint before its end, which is the smallest output for it."""
    _render(sink, lambda: NEVER, [text])


def _render(sink: Sink, clock: Callable[[], float], pieces: Iterable[str]) -> None:
    is_tty = (True, True, True)
    terminal = Terminal(io.BytesIO(), sink, io.StringIO(), *is_tty, obeys=True, colour=True)
    renderer = MarkdownRenderer(terminal, clock=clock)
    for piece in pieces:
        renderer.write(piece)
    renderer.end()


def stream_hermes(texts: list[str]) -> list[dict[str, Any]]:
    return stream(show, picture, texts, exact=True)


def run_sides(bench: Bench, sizes: Sizes, repeats: int) -> Repeats[Records]:
    """Run hermes with each size, and the peers with the first answer of the second size."""
    _, long, total = sizes
    calls: dict[str, Any] = {f"hermes {k(size)}": (stream_hermes, answers(total, size)) for size in sizes}
    calls |= {peer: (function, answers(total, long)[:1]) for peer, (function, _) in PEERS.items()}
    sides = {side: partial(_records, bench, *call) for side, call in calls.items()}
    return interleave(sides, repeats, bench.patience_s, warm_up=False)


def _records(bench: Bench, function: Any, texts: list[str]) -> Records:
    records: Records = bench.call(function, texts=texts).value
    return records


def k(size: int) -> str:
    return f"{size / 1000:g}k"


def measure(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    return lines(run_sides(bench, sizes, bench.repeats), sizes)


def measure_bytes(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    """Measure once, since hermes' bytes are the same every time."""
    runs = run_sides(bench, sizes, 1)
    return [bytes_line(side, records) for side, (records,) in runs.results.items()]


def lines(runs: Repeats[Records], sizes: Sizes = SIZES) -> list[Line]:

    def line(what: str, hermes: str, peer: str, goal: Goal | None = None) -> Line:
        wrong = gate(runs.results[hermes]) or fault(runs.results[peer])
        per = f"{what.partition(',')[0]}s"
        first = 1 if peer in PEERS else None  # the peers show only the first answer

        def milliseconds(records: Records) -> float:
            cpu_s, count = (sum(float(one[key]) for one in records[:first]) for key in ("cpu_s", per))
            return 1000 * cpu_s / count

        return runs.line(f"CPU per {what}", "ms", milliseconds, (hermes, peer), goal=goal, wrong=wrong)

    short, long, total = (k(size) for size in sizes)
    made = [
        line(f"token, {size} beside {short}", f"hermes {size}", f"hermes {short}", goal)
        for size, goal in ((total, FLAT), (long, None))
    ]
    for peer, (_, goal) in PEERS.items():
        made.append(line(f"token, {long}, beside {peer}", f"hermes {long}", peer))
        made.append(line(f"repaint, {long}, beside {peer}", f"hermes {long}", peer, goal))
    return made


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
