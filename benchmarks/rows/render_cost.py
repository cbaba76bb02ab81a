"""render-cost: the cost of a token of a growing answer on a terminal, and whether it rises with the length.

Measured: CPU time of the streaming alone, in a separate process that writes to a terminal of 80x24 in memory,
with one token per 20 ms of a simulated clock. An answer of 16k tokens is split between its blocks into
answers of 4k and of 0.5k tokens, so that every length is measured on the same words. Peers: rich's
`Live(Markdown(text))` and aider's method, on the first of the answers of 4k; all of them would take many
minutes. hermes repaints up to twenty times per second, rich four times, and aider's method as often as
hermes, or less often if a render is slow.

Gate: the final screen with its scrollback equals, cell for cell, that of the whole text shown at once, and
contains every word of it; every repeat writes the same bytes. For the peers only that the words were written.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks.answer_text import answers
from benchmarks.measure import Bench, Repeats, interleave
from benchmarks.report import Goal, Line
from benchmarks.streaming import Clock, Sink, stream
from hermes_cli.screen.render import MarkdownRenderer
from hermes_cli.screen.terminal import Terminal

FLAT = Goal("≤", 1.2)
GOALS = {"rich Live(Markdown)": Goal("≤", 1 / 50), "aider's method": None}
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
    is_tty = dict.fromkeys(("stdin_is_tty", "stdout_is_tty", "stderr_is_tty"), True)
    return MarkdownRenderer(
        Terminal(io.BytesIO(), sink, io.StringIO(), obeys=True, colour=True, **is_tty), clock=clock
    )


def stream_hermes(texts: list[str]) -> list[dict[str, Any]]:
    """Stream the texts with hermes' renderer."""
    return stream(show, picture, texts, exact=True)


def sides(bench: Bench, sizes: Sizes = SIZES) -> dict[str, Callable[[], Records]]:
    """Return the sides by name: hermes with each size, and the peers with the first answer of the second."""
    _, long, total = sizes
    peers = zip(GOALS, ("stream_live", "stream_tail"), strict=True)
    calls = {
        **{f"hermes {k(size)}": (stream_hermes, answers(total, size)) for size in sizes},
        **{peer: (f"benchmarks.peers.rich_screens:{name}", answers(total, long)[:1]) for peer, name in peers},
    }
    return {name: partial(_records, bench, function, texts) for name, (function, texts) in calls.items()}


def _records(bench: Bench, function: Callable[..., Any] | str, texts: Sequence[str]) -> Records:
    records: Records = bench.call(function, texts=texts).value
    return records


def k(size: int) -> str:
    """Return a size in thousands of tokens as text, for example 0.5k."""
    return f"{size / 1000:g}k"


def measure(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    """Return lines for the growth of the cost, and for both peers."""
    return lines(interleave(sides(bench, sizes), bench.repeats, bench.patience_s, warm_up=False), sizes)


def lines(runs: Repeats[Records], sizes: Sizes = SIZES) -> list[Line]:
    """Return the lines of the table."""

    def line(what: str, value: Any, hermes: str, peer: str, goal: Goal | None = None) -> Line:
        wrong = gate(runs.results[hermes]) or fault(runs.results[peer])
        return runs.line(what, "ms", value, (hermes, peer), goal=goal, wrong=wrong)

    short, long, total = (k(size) for size in sizes)
    made = [
        line(
            f"CPU a token, answers of {size} beside {short}",
            token_ms,
            f"hermes {size}",
            f"hermes {short}",
            goal,
        )
        for size, goal in ((total, FLAT), (long, None))
    ]
    for peer, goal in GOALS.items():
        made += [
            line(f"CPU a token, {long}, beside {peer}", _first(token_ms), f"hermes {long}", peer),
            line(f"CPU a repaint, {long}, beside {peer}", _first(repaint_ms), f"hermes {long}", peer, goal),
        ]
    return made


def _first(value: Callable[[Records], float]) -> Callable[[Records], float]:
    """Return the value of the first answer, the only one that the peers show."""
    return lambda records: value(records[:1])


def token_ms(records: Records) -> float:
    """Return milliseconds of CPU time per token."""
    return 1000 * sum(one["cpu_s"] for one in records) / sum(one["tokens"] for one in records)


def repaint_ms(records: Records) -> float:
    """Return milliseconds of CPU time per repaint."""
    return 1000 * sum(one["cpu_s"] for one in records) / sum(one["repaints"] for one in records)


def fault(repeats: Sequence[Records]) -> str:
    """Return the first fault of the screens, or an empty string."""
    return next((one["fault"] for records in repeats for one in records if one["fault"]), "")


def gate(repeats: Sequence[Records]) -> str:
    """Return the first fault, or an error text if a repeat wrote other bytes than the first."""
    if len({tuple(one["digest"] for one in records) for records in repeats}) > 1:
        return "not every repeat wrote the same bytes"
    return fault(repeats)
