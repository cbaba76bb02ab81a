"""C6: bytes written to the terminal while an answer grows, over the bytes of its final picture.

Measured: the bytes that row C5's sides write, once each, since hermes' bytes are the same every time. The
picture is the whole text shown at once by the same side: hermes' renderer without a repaint before the end;
rich's `console.print(Markdown(text))` for the peers, which are measured at 0.5k and 4k tokens only. aider's
method repaints less often on a slow machine, so its bytes differ between machines. Gate: as in C5.
"""

from collections.abc import Sequence

from benchmarks.measure import Bench, Goal, Line
from benchmarks.rows.c5 import HARD, PEERS, SIZES, Sizes, Streamed, gate, k, sides, streamed

GOAL = Goal(1.3, at_least=False)
KIB = 1024


def measure(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    """Measure the row and return a line per side: its bytes beside those of the picture."""
    every = sides(sizes)
    given = {name: streamed(bench, side) for name, side in every.items()}
    wrong = {name: gate(bench, side, [given[name]]) for name, side in every.items()}
    short, long, _ = map(k, sizes)
    names = {f"hermes {k(size)}": f"bytes beside the final picture's, answers of {k(size)}" for size in sizes}
    goals = {*names}
    names |= {f"hermes, {what}": f"the same, {what}, {long}" for what in HARD}
    names |= {f"{peer} {size}": f"the same of {peer}, {size}" for peer in PEERS for size in (short, long)}
    return [
        line(what, given[name], GOAL if name in goals else None, wrong[name]) for name, what in names.items()
    ]


def line(what: str, given: Sequence[Streamed], goal: Goal | None, wrong: str) -> Line:
    """Return the line of one side."""
    written, picture = sum(one.written for one in given), sum(one.picture for one in given)
    detail = {
        "tokens": sum(one.tokens for one in given),
        "looks": sum(one.looks for one in given),
        "written": written,
        "picture": picture,
    }
    return Line("C6", what, "KiB", written / KIB, picture / KIB, goal, wrong, detail)
