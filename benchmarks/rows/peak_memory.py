"""peak-memory: peak memory of an answer in a context of 2,048 tokens; 512 tokens.

Measured: the largest resident size of the whole process, as the kernel reports it for a child that has ended;
it includes the weights, which are mapped from the file. Peer: ten lines of xllamacpp with the same ids and
the same context, once with the library's defaults and once with hermes' settings. Gate: the same text. The
record has the ratio of both to the size of the weights.
"""

from typing import Any

from benchmarks.measure import Bench, Repeats
from benchmarks.process import MIB, Child
from benchmarks.report import Goal, Line
from benchmarks.rows.ask_cold import run_sides
from benchmarks.rows.decode import CONTEXT, PROMPT

GOAL = Goal("≤", 1.1)
TOKENS = 512


def measure(bench: Bench) -> list[Line]:
    """Return a line for the library's defaults, and one for hermes' settings."""
    runs, wrong = run_sides(bench.untimed, PROMPT, TOKENS, context=CONTEXT)
    size = bench.model.stat().st_size
    what = "peak memory beside the bare engine"
    same = f"{what} with hermes' settings"
    return [
        runs.line(what, "MiB", peak_mib, goal=GOAL, wrong=wrong, **over_weights(runs, size)),
        runs.line(same, "MiB", peak_mib, ("hermes", "lean peer"), wrong=wrong),
    ]


def peak_mib(child: Child) -> float:
    """Return the peak memory of a process in MiB."""
    return child.max_rss / MIB


def over_weights(runs: Repeats[Child], size: int) -> dict[str, Any]:
    """Return the medians over the size of the weights in bytes."""
    return {
        f"{side} over weights": round(runs.median(side, lambda c: c.max_rss / size), 2)
        for side in ("hermes", "peer")
    }
