"""C3 on the transformers engine: the same twenty turns, and again across a sliding window.

Measured: ids prefilled in each turn, counted from outside: the ids that the model looked up, less those that
were generated and evaluated. Beside: the ids that are new, counted from the prompts' ids alone, exactly; and
`generate` on each whole prompt, nothing reused. The second conversation is held by a tiny random Mistral
whose window is 64 tokens, until it is several windows long.

Gates: the engine says the same count itself; every answer's ids are `generate`'s on the whole prompt, in
float32, where no first other token is less likely by more than NEAR_TIE nats; and the second conversation
really outgrows its window.
"""

from typing import Any

from benchmarks import weights
from benchmarks.measure import Bench, Goal, Line, not_measured
from benchmarks.rows.c3 import TOKENS, Turn, new_ids, widest_gap
from benchmarks.rows.hf import generated, reported

ROW = "C3-transformers"
EVERY_TURN = Goal(1, at_least=True)
WINDOW = 64
WINDOWS = 3
"""How many windows long the last prompt must be for the second conversation to show anything."""
NEAR_TIE = 0.001
"""Nats. What float32 rounds differently when ids are evaluated singly and together is a tenth of it."""
CASES = {"starter": ("starter", 4096, 0), "sliding window": ("tiny mistral", 1024, WINDOW)}
"""By name: the model, the context, and the window, if there is one."""


def measure(bench: Bench) -> list[Line]:
    """Return three lines a conversation."""
    if words := weights.missing():
        return [not_measured(ROW, "turns in which only new ids are prefilled", words)]
    return [line for name in CASES for line in _conversation(bench, name)]


def _conversation(bench: Bench, name: str) -> list[Line]:
    model, context, window = CASES[name]
    folder = weights.folder(bench, model)
    ask = {"engine": "transformers", "model": str(folder), "threads": bench.threads, "precision": "fp32"}
    talk = reported(bench, "ours.talk", {**ask, "n_ctx": context, "n_predict": TOKENS})
    requests = [
        {"prompt": turn["prompt"], "n_predict": max(1, len(turn["generated"]) + turn["ended"])}
        for turn in talk
    ]
    return lines(name, talk, generated(bench, folder, "float32", requests), window)


def lines(name: str, talk: list[Turn], whole: list[Turn], window: int = 0) -> list[Line]:
    """Return the table's lines for a conversation and `generate`'s answers to it."""
    new = [count for (count,) in new_ids(talk, exact=True)]
    prefilled = [turn["looked_up"] - (turn["completion_tokens"] - 1) for turn in talk]
    equal = sum(count == wanted for count, wanted in zip(prefilled, new, strict=True))
    gap = widest_gap(talk, whole)
    differ = [
        number
        for number, (turn, record) in enumerate(zip(talk, whole, strict=True), 1)
        if turn["generated"] != record["ids"][: len(turn["generated"])]
    ]
    detail: dict[str, Any] = {
        "actions": [turn["action"] for turn in talk],
        "finish_reasons": [turn["finish_reason"] for turn in talk],
        "prompt": [turn["prompt_tokens"] for turn in talk],
        "prefilled": prefilled,
        "new": new,
        "answers that differ from generate's": differ,
        "widest near tie, nats": round(gap, 6),
    }
    wrong = gate(talk, prefilled, gap, window)
    what = f"turns in which only new ids are prefilled, {name}"
    total = f"tokens prefilled, {name}, beside"
    without = sum(record["prefilled"] for record in whole)
    return [
        Line(ROW, what, "turns", equal, len(talk), EVERY_TURN, wrong, detail),
        Line(ROW, f"{total} the ids that are new", "tokens", sum(prefilled), sum(new), None, wrong),
        Line(ROW, f"{total} generate without reuse", "tokens", sum(prefilled), without, None, wrong),
    ]


def gate(talk: list[Turn], prefilled: list[int], gap: float, window: int) -> str:
    """Return what is wrong where the engine miscounts, answers otherwise, or the window was never left."""
    for number, (turn, count) in enumerate(zip(talk, prefilled, strict=True), 1):
        if (said := turn["prompt_tokens"] - turn["cached_tokens"]) != count:
            return f"turn {number}: the engine says that {said} ids were prefilled, and it was {count}"
    if gap > NEAR_TIE:
        return f"an answer differs from generate's where {gap:.4f} nats lie between the two tokens"
    if window and len(talk[-1]["prompt"]) < WINDOWS * window:
        return f"the last prompt is {len(talk[-1]['prompt'])} ids, not {WINDOWS} windows of {window}"
    return ""
