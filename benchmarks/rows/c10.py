"""C10: peak memory of an answer of 512 tokens in a context of 2,048.

Measured: the largest resident size of the whole process, as the kernel reports it for a child that has ended;
it includes the weights, which are mapped from the file. Peer: ten lines of xllamacpp with the same ids and
the same context, once with the library's defaults and once with hermes' settings. Gate: the same text. The
record has the ratio of both to the size of the weights.
"""

from benchmarks.measure import Bench, Goal, Line
from benchmarks.rows.program import compare

GOAL = Goal(1.15, at_least=False)
PROMPT = "Write a long story about a lighthouse keeper and her dog."
TOKENS = 512
CONTEXT = 2048
MIB = 1 << 20


def measure(bench: Bench) -> list[Line]:
    """Return a line for the library's defaults, and one for hermes' settings."""
    turns, wrong = compare(bench, PROMPT, TOKENS, context=CONTEXT, timed=False)
    hermes, peer, lean = (
        turns.median(side, lambda c: c.max_rss / MIB) for side in ("hermes", "peer", "lean peer")
    )
    weights = bench.model.stat().st_size / MIB
    detail = {
        **turns.record(lambda c: c.max_rss / MIB),
        "weights": round(weights, 1),
        "hermes over weights": round(hermes / weights, 2),
        "peer over weights": round(peer / weights, 2),
    }
    return [
        Line("C10", "peak memory beside the bare engine", "MiB", hermes, peer, GOAL, wrong, detail),
        Line("C10", "the same, the bare engine with hermes' settings", "MiB", hermes, lean, None, wrong),
    ]
