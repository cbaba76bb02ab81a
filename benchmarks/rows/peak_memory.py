"""peak-memory: peak memory of an answer of 512 tokens in a context of 2,048.

Measured: the largest resident size of the whole process, as the kernel reports it for a child that has ended;
it includes the weights, which are mapped from the file. Peer: ten lines of xllamacpp with the same ids and
the same context, once with the library's defaults and once with hermes' settings. Gate: the same text. The
record has the size of the weights.
"""

from benchmarks.measure import MIB, Bench, Child
from benchmarks.report import Goal, Line
from benchmarks.rows.ask_cold import run_sides
from benchmarks.rows.decode import CONTEXT, PROMPT

GOAL = Goal("≤", 1.1)


def measure(bench: Bench) -> list[Line]:
    runs, wrong = run_sides(bench.untimed, PROMPT, 512, context=CONTEXT)
    what, size = "peak memory beside the bare engine", bench.model.stat().st_size / MIB
    sides = ("hermes", "peer with hermes' settings")
    return [
        runs.line(what, "MiB", peak_mib, goal=GOAL, wrong=wrong, weights=size),
        runs.line(f"{what} with hermes' settings", "MiB", peak_mib, sides, wrong=wrong),
    ]


def peak_mib(child: Child) -> float:
    return child.max_rss / MIB
