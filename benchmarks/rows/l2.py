"""L2: tokens prefilled over sixty turns, most of them with a full window of 1,024 tokens.

Measured: the tokens that the engine reports as prefilled, with old turns dropped an eighth of the window at a
time. Beside: the same conversation with as few turns dropped as possible, recomputed at every turn. The cost
is recorded, too: the number of exchanges that were kept.

Gate: no prompt is longer than the window less the answer, and both sides keep the first turns while they fit.
"""

from statistics import mean
from typing import Any

from benchmarks.measure import Bench, Line
from benchmarks.rows.hf import reported

CONTEXT = 1024
TOKENS = 32


def measure(bench: Bench) -> list[Line]:
    """Measure the row; return the tokens of both sides, and the exchanges that they keep."""
    ask = {"engine": "llama.cpp", "model": str(bench.model), "n_ctx": CONTEXT, "n_predict": TOKENS}
    steps, late = (reported(bench, "ours.full", {**ask, "drops": drops}) for drops in ("steps", "late"))
    return lines(steps, late)


def lines(steps: list[dict[str, Any]], late: list[dict[str, Any]]) -> list[Line]:
    """Return the lines of the table."""
    wrong = gate(steps, late)
    kept = [[turn["kept"] for turn in side] for side in (steps, late)]
    tokens = [sum(turn["prefilled"] for turn in side) for side in (steps, late)]
    full = next((n for n, turn in enumerate(kept[1]) if turn <= n), 0)
    means = [round(mean(side[full:]), 1) for side in kept]
    detail = {"kept in steps": kept[0], "kept as late as can be": kept[1], "full at turn": full + 1}
    what = "tokens prefilled, turns left out in steps"
    return [
        Line("L2", what, "tokens", tokens[0], tokens[1], None, wrong, detail),
        Line("L2", "exchanges kept once the window is full", "exchanges", means[0], means[1], None, wrong),
    ]


def gate(steps: list[dict[str, Any]], late: list[dict[str, Any]]) -> str:
    """Return an error text if a prompt is too long or too few turns were kept."""
    for name, side in (("steps", steps), ("late", late)):
        for number, turn in enumerate(side, 1):
            if turn["prompt"] > CONTEXT - TOKENS:
                return f"turn {number}, {name}: {turn['prompt']} tokens do not leave room for the answer"
        if side[4]["kept"] != 5:  # noqa: PLR2004 - five turns fit
            return f"{name}: of the first five turns {side[4]['kept']} were kept"
    return ""
