"""terminal-bytes: bytes written to the terminal while an answer grows, over the bytes of its final picture.

Measured: the bytes that the sides of render-cost write, once each, since hermes' bytes are the same every
time. The picture is the whole text shown at once by the same side: hermes' renderer without a repaint before
the end; rich's `console.print(Markdown(text))` for the peers. aider's method repaints less often on a slow
machine, so its bytes differ between machines. Gate: as in render-cost.
"""

from benchmarks.measure import Bench
from benchmarks.process import KIB
from benchmarks.report import Goal, Line
from benchmarks.rows.render_cost import SIZES, Records, Sizes, fault, sides

GOAL = Goal("≤", 1.2)


def measure(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    """Return a line per side: its bytes beside those of the picture."""
    return [line(name, side()) for name, side in sides(bench, sizes).items()]


def line(side: str, records: Records) -> Line:
    """Return the line of one side."""
    written, shown = (sum(one[what] for one in records) / KIB for what in ("written", "picture"))
    goal = GOAL if side.startswith("hermes") else None
    detail = {"repaints": sum(one["repaints"] for one in records)}
    return Line(
        f"bytes beside the final picture's, {side}", "KiB", written, shown, goal, fault([records]), detail
    )
