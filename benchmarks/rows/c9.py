"""C9: `hermes ask "hi"` from its start to its exit, with the starter on the disk.

Measured: wall time of the whole process, 16 tokens, greedy. Peer: ten lines of xllamacpp with the same ids,
once with the library's defaults and once with hermes' settings. Gate: the same text.
"""

from benchmarks.measure import Bench, Goal, Line
from benchmarks.rows.program import compare

GOAL = Goal(1.25, at_least=False)
PROMPT = "hi"
TOKENS = 16


def measure(bench: Bench) -> list[Line]:
    """Return a line for the library's defaults, and one for hermes' settings."""
    turns, wrong = compare(bench, PROMPT, TOKENS)
    hermes, peer, lean = (turns.median(side, lambda c: c.wall_s) for side in ("hermes", "peer", "lean peer"))
    what = 'wall time of hermes ask "hi", cold, beside ten lines of xllamacpp'
    record = turns.record(lambda c: c.wall_s)
    return [
        Line("C9", what, "s", hermes, peer, GOAL, wrong, record),
        Line("C9", "the same, the ten lines with hermes' settings", "s", hermes, lean, None, wrong),
    ]
