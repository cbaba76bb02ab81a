"""C3 on the transformers engine: the same twenty turns, and again across a sliding window.

Measured: ids prefilled in each turn, counted outside the engine: the ids that the model looked up, less those
that were generated and evaluated. Beside: the exact number of new ids, counted from the prompts' ids alone;
and all ids of every prompt, which `generate` evaluates. The second conversation uses a tiny random Mistral
with a window of 64 tokens, and becomes several windows long.

Gates: the engine reports the same count; in float32 every id of every answer, and its end, is the one that
the library's own model predicts for the whole prompt (`rows/hf.py`); and the second conversation is longer
than its window.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks import weights
from benchmarks.measure import Bench, Goal, Line, not_measured
from benchmarks.rows.c3 import TOKENS, Turn, new_ids
from benchmarks.rows.hf import reported, scored, unlikely, widest

ROW = "C3-transformers"
EVERY_TURN = Goal(1, at_least=True)
WINDOW = 64
WINDOWS = 3
"""Minimum length of the last prompt, in windows, for the second conversation to be a test of them."""
PRECISION = "float32"
CASES = {"starter": ("starter", 4096, 0), "sliding window": ("tiny mistral", 1024, WINDOW)}
"""By name: the model, the context, and the window, if there is one."""


def measure(bench: Bench) -> list[Line]:
    """Measure the row and return three lines per conversation."""
    if words := weights.missing():
        return [not_measured(ROW, "turns in which only new ids are prefilled", words)]
    return [line for name in CASES for line in _conversation(bench, name)]


def _conversation(bench: Bench, name: str) -> list[Line]:
    model, context, window = CASES[name]
    folder = weights.folder(bench, model)
    ask = {"engine": "transformers", "model": str(folder), "precision": "fp32", "n_ctx": context}
    talk: list[Turn] = reported(bench, "ours.talk", {**ask, "n_predict": TOKENS})
    answers = [{"prompt": t["prompt"], "ids": t["generated"], "ended": t["ended"]} for t in talk]
    return lines(name, talk, scored(bench, folder, PRECISION, answers), window)


def lines(name: str, talk: list[Turn], gaps: Sequence[Sequence[float]], window: int = 0) -> list[Line]:
    """Return the lines of a conversation, given the gaps of its answers under the library's own model."""
    new = [count for (count,) in new_ids(talk, exact=True)]
    prefilled = [turn["looked_up"] - (turn["completion_tokens"] - 1) for turn in talk]
    equal = sum(count == wanted for count, wanted in zip(prefilled, new, strict=True))
    prompts = [turn["prompt_tokens"] for turn in talk]
    detail: dict[str, Any] = {
        "actions": [turn["action"] for turn in talk],
        "finish_reasons": [turn["finish_reason"] for turn in talk],
        "prompt": prompts,
        "prefilled": prefilled,
        "new": new,
        "widest near tie, nats": widest(gaps),
    }
    wrong = gate(talk, prefilled, window) or unlikely(gaps, PRECISION)
    what = f"turns in which only new ids are prefilled, {name}"
    total = f"tokens prefilled, {name}, beside"
    return [
        Line(ROW, what, "turns", equal, len(talk), EVERY_TURN, wrong, detail),
        Line(ROW, f"{total} the ids that are new", "tokens", sum(prefilled), sum(new), None, wrong),
        Line(ROW, f"{total} every prompt whole", "tokens", sum(prefilled), sum(prompts), None, wrong),
    ]


def gate(talk: list[Turn], prefilled: list[int], window: int) -> str:
    """Return an error text if the engine's count is wrong or the window was never exceeded."""
    for number, (turn, count) in enumerate(zip(talk, prefilled, strict=True), 1):
        if (said := turn["prompt_tokens"] - turn["cached_tokens"]) != count:
            return f"turn {number}: the engine says that {said} ids were prefilled, and it was {count}"
    if window and len(talk[-1]["prompt"]) < WINDOWS * window:
        return f"the last prompt is {len(talk[-1]['prompt'])} ids, not {WINDOWS} windows of {window}"
    return ""
