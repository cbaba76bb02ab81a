"""C3: tokens prefilled in each of twenty turns, with Ctrl-C, retry, undo and edit among them.

Measured: the number that the engine reports for each turn, `prompt_tokens - cached_tokens`. Peers: the number
of new ids, counted here from the prompts' ids alone; and bare llama.cpp with the same conversation as ids, as
text, and without its prefix cache.

An id is new if it is after the longest common prefix of the prompt and of the KV cache. The cache contains
the previous prompt and the ids generated from it, except the last, which was sampled and never evaluated.
After Ctrl-C that last one may have been evaluated; then one id fewer is new. A prompt that is completely in
the cache costs one id, since the next token's logits come from evaluating one.

Gates: the ids of every answer are those of bare llama.cpp with the same ids and its prefix cache. If
llama.cpp without any reuse generates another answer, its first different token is as likely as hermes' within
NEAR_TIE nats. (Tokens evaluated alone and in a batch are rounded differently, so near ties fall either way.)
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import Bench, Goal, Line, ended_well, run_child
from benchmarks.rows.c1 import ROOT, answers

EVERY_TURN = Goal(1, at_least=True)
CONTEXT = 4096
TOKENS = 32
HERMES_BATCH = 128
NEAR_TIE = 0.5
"""Nats. Without reuse, the batch size alone changes a log probability by up to 0.45 (measured)."""

Turn = dict[str, Any]


def measure(bench: Bench) -> list[Line]:
    """Measure the row; return the number of equal turns, and the totals beside those of llama.cpp."""
    report = bench.scratch / "talk.json"
    ask = {"engine": "llama.cpp", "model": str(bench.model), "threads": bench.threads}
    words = json.dumps({**ask, "n_ctx": CONTEXT, "n_predict": TOKENS, "report": str(report)})
    child = run_child([sys.executable, "-m", "benchmarks.ours.talk", words], bench.environment(), folder=ROOT)
    if wrong := ended_well([child]):
        return [Line("C3", "turns in which only new ids are prefilled", "turns", 0, 1, EVERY_TURN, wrong)]
    talk = json.loads(report.read_text(encoding="utf-8"))
    return lines(talk, {name: _peer(bench, talk, name) for name in ("ids", "text", "no reuse")})


def _peer(bench: Bench, talk: list[Turn], kind: str) -> list[Turn]:
    """Return bare llama.cpp's answers to the same prompts, with the same length as hermes' answers."""
    extra = {"cache_prompt": False, "n_probs": 8} if kind == "no reuse" else {}
    requests = [
        {
            "prompt": turn["text" if kind == "text" else "prompt"],
            "n_predict": max(1, len(turn["generated"]) + turn["ended"]),
            **extra,
        }
        for turn in talk
    ]
    return answers(bench, requests, n_ctx=CONTEXT, n_batch=HERMES_BATCH)


def lines(talk: list[Turn], peers: dict[str, list[Turn]]) -> list[Line]:
    """Return the lines of a conversation and the peers' answers to it."""
    new = new_ids(talk)
    prefilled = [turn["prompt_tokens"] - turn["cached_tokens"] for turn in talk]
    equal = sum(count in allowed for count, allowed in zip(prefilled, new, strict=True))
    counts = {kind: [record["prefilled"] for record in records] for kind, records in peers.items()}
    gap = widest_gap(talk, peers["no reuse"])
    wrong = gate(talk, peers["ids"], gap)
    detail = {
        "actions": [turn["action"] for turn in talk],
        "finish_reasons": [turn["finish_reason"] for turn in talk],
        "prompt": [turn["prompt_tokens"] for turn in talk],
        "prefilled": prefilled,
        "new": new,
        "llama.cpp": counts,
        "widest near tie, nats": round(gap, 4),
    }

    def total(beside: str, theirs: int) -> Line:
        return Line("C3", f"tokens prefilled, beside {beside}", "tokens", sum(prefilled), theirs, None, wrong)

    what = "turns in which only new ids are prefilled"
    return [
        Line("C3", what, "turns", equal, len(talk), EVERY_TURN, wrong, detail),
        total("the ids that are new", sum(allowed[-1] for allowed in new)),
        total("llama.cpp given ids", sum(counts["ids"])),
        total("llama.cpp given text", sum(counts["text"])),
        total("llama.cpp without reuse", sum(counts["no reuse"])),
    ]


def new_ids(talk: Sequence[Turn], *, exact: bool = False) -> list[list[int]]:
    """Return how many ids of each turn's prompt are new: one number, or one or two numbers after Ctrl-C.

    `exact` is for an engine that evaluates nothing after the last id that it shows.
    """
    caches: list[list[int]] = [[]]
    counts = []
    for turn in talk:
        prompt, generated = turn["prompt"], turn["generated"]
        counts.append(sorted({max(1, len(prompt) - common(prompt, cache)) for cache in caches}))
        # If an answer ended by itself, the last sampled id was an <|im_end|> after it.
        whole, without_last = [*prompt, *generated], [*prompt, *generated[:-1]]
        if exact:
            # Ids at the end that are not a whole character are not in the turn, but they were evaluated.
            caches = [[*prompt, *generated[: turn["completion_tokens"] - 1]]]
            continue
        cancelled = turn["finish_reason"] == "cancelled"
        caches = [without_last, whole] if cancelled else [whole if turn["ended"] else without_last]
    return counts


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the longest common prefix."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def gate(talk: list[Turn], peer: list[Turn], gap: float) -> str:
    """Return an error text if an answer is not the peer's, or a difference is not explained by a near tie."""
    for number, (turn, record) in enumerate(zip(talk, peer, strict=True), 1):
        if turn["generated"] != record["ids"][: len(turn["generated"])]:
            return f"turn {number}: the ids are not bare llama.cpp's"
    if gap > NEAR_TIE:
        return f"an answer differs from the one without reuse where {gap:.2f} nats lie between the two tokens"
    return ""


def widest_gap(talk: list[Turn], whole: list[Turn]) -> float:
    """Return how many nats likelier, without reuse, the first different token was than ours, at most."""
    widest = 0.0
    for turn, record in zip(talk, whole, strict=True):
        ours, theirs = turn["generated"], record["ids"]
        place = common(ours, theirs)
        if place < min(len(ours), len(theirs)):
            likely = {int(token): chance for token, chance in record["likely"][place].items()}
            widest = max(widest, likely[theirs[place]] - likely.get(ours[place], float("-inf")))
    return widest
