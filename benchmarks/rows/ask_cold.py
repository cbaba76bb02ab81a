"""ask-cold: `hermes ask "hi"` from its start to its exit, with the starter on the disk.

Measured: wall time of the whole process, 16 tokens. Peer and gate: see `ask.py`.
"""

from benchmarks.ask import LEAN, run_sides
from benchmarks.measure import Bench
from benchmarks.report import Goal, Line

GOAL = Goal("≤", 1.1)


def measure(bench: Bench) -> list[Line]:
    runs, wrong = run_sides(bench, "hi", 16)
    what = 'wall time of hermes ask "hi", cold, beside ten lines of xllamacpp'
    return [
        runs.line(what, "s", lambda c: c.wall_s, wrong=wrong),
        runs.line(f"{what} with hermes' settings", "s", lambda c: c.wall_s, LEAN, goal=GOAL, wrong=wrong),
    ]
