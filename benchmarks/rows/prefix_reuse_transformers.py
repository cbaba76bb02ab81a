"""prefix-reuse-transformers: the twenty turns of prefix-reuse on the transformers engine.

They run twice: with the starter, and with a tiny random Mistral whose sliding window of 64 tokens the
conversation exceeds several times. Measured: ids prefilled in each turn, as the engine reports them. Peers:
the exact number of new ids, counted from the prompts' ids alone; and all ids of every prompt, which
`generate` evaluates.

Gates: the engine's count is that of the ids that the model looked up, less those that were generated and
evaluated; in float32 every id of every answer, and its end, is the one that the library's own model predicts
for the whole prompt (`weights.py`); and the second conversation is longer than its window.
"""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.measure import Bench
from benchmarks.report import Line
from benchmarks.rows.prefix_reuse import Turn, converse, new_ids, reuse_lines
from benchmarks.weights import Gaps, folder, score, unlikely

WINDOWS = 3
"""Minimum length of the last prompt, in windows."""
PRECISION = "float32"
CASES = {"starter": (4096, 0), "tiny mistral": (1024, 64)}
"""By model: the context, and the sliding window, if there is one."""


def measure(bench: Bench) -> list[Line]:
    made = []
    for name, (context, window) in CASES.items():
        model = folder(bench, name)
        settings = {"model": model, "threads": bench.threads, "context": context, "precision": "fp32"}
        turns = bench.untimed.call(converse, count_lookups=True, **settings).value
        answers = [{"prompt": t["prompt"], "ids": t["generated"], "ended": t["ended"]} for t in turns]
        gaps = score(bench, model, PRECISION, answers)
        made += [replace(line, measure=f"{name}: {line.measure}") for line in lines(turns, gaps, window)]
    return made


def lines(turns: Sequence[Turn], gaps: Gaps, window: int = 0) -> list[Line]:
    """Return the lines of a conversation, given the gaps of its answers under the library's own model."""
    new = new_ids(turns, exact=True)
    totals = {
        "the ids that are new": sum(count for (count,) in new),
        "every prompt whole": sum(len(turn["prompt"]) for turn in turns),
    }
    return reuse_lines(turns, new, totals, gate(turns, window) or unlikely(gaps, PRECISION))


def gate(turns: Sequence[Turn], window: int) -> str:
    for number, turn in enumerate(turns, 1):
        evaluated = turn["looked_up"] - (turn["completion_tokens"] - 1)
        if turn["prefilled"] != evaluated:
            return (
                f"turn {number}: the engine reports {turn['prefilled']} prefilled ids instead of {evaluated}"
            )
    length = len(turns[-1]["prompt"])
    return f"the last prompt is {length} ids, not {WINDOWS} windows" if length < WINDOWS * window else ""
