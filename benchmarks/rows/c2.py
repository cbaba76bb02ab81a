"""C2: tokens a second of the transformers engine on the CPU, its text going to a pipe.

Measured as in C1: (tokens - 1) over the time from the first piece of text to the last. Beside: `generate`
with a streamer, the same weights, dtype, ids and number of tokens; a process of its own in each repeat.
hermes' 8-bit weights stand beside `generate` in bfloat16.

Gates: hermes' ids are `generate`'s, and every run of a side wrote the same text. For 8-bit weights, which
give other logits: `ours/quality.py` reads a real text with them, and its perplexity and the mean KL
divergence of the next token's distribution from float32 stay within PERPLEXITY_LIMIT and KL_LIMIT.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Child, Goal, Line, Turns, ended_well, not_measured, same, turns_about
from benchmarks.rows.c1 import PROMPT, speed
from benchmarks.rows.hf import PATIENCE_S, process, reported
from benchmarks.weights import ROOT, folder, missing

TOKENS = 96
CONTEXT = 2048
TEXT = ROOT / "README.md"
TEXT_TOKENS = 512
QUICK_TEXT_TOKENS = 64
KL_LIMIT = 0.1
"""Of NF4's divergence on the same text: what hermes takes by itself where 16 bits do not fit."""
PERPLEXITY_LIMIT = 1.01
"""Of float32's. bfloat16 alone moves it by half a percent."""
QUICK = 2
"""Repeats up to which a run is a smoke test, and reads less of the text."""
FAST = Goal(1.0, at_least=True)
FASTER = Goal(1.4, at_least=True)


@dataclass(frozen=True, slots=True)
class Case:
    """A line: hermes' precision, and what `generate` has beside it."""

    ours: str
    theirs: str
    words: str
    goal: Goal | None


CASES = (
    Case("fp32", "float32", "decode in float32 beside generate", FAST),
    Case("bf16", "bfloat16", "decode in bfloat16 beside generate", FAST),
    Case("8bit", "bfloat16", "decode with 8-bit weights beside generate in bfloat16", FASTER),
    Case("4bit", "nf4", "decode with NF4 weights beside generate with the same", None),
)


def measure(bench: Bench) -> list[Line]:
    """Return a line a precision."""
    if words := missing():
        return [not_measured("C2", "decode, transformers engine", words)]
    weights = folder(bench)
    ours = {case.ours: _ours(bench, weights, case.ours) for case in CASES}
    prompt = reported(bench, "ours.decode", ours["8bit"])["prompt"]
    theirs = {
        case.theirs: {"model": str(weights), "precision": case.theirs, "prompt": prompt, "n_predict": TOKENS}
        for case in CASES
    }
    sides = {
        **{f"hermes {how}": process(bench, "ours.decode", _to(bench, ask)) for how, ask in ours.items()},
        **{
            f"generate {how}": process(bench, "peers.generate", _to(bench, ask))
            for how, ask in theirs.items()
        },
    }
    turns = turns_about(sides, bench.repeats, warm_up=False, patience_s=PATIENCE_S)
    ids = {how: _ids(bench, ask) for how, ask in {**ours, **theirs}.items()}
    return [
        _line(case, turns, ids, _quality(bench, weights) if case.ours == "8bit" else {}) for case in CASES
    ]


def _ours(bench: Bench, weights: Path, precision: str) -> dict[str, Any]:
    return {
        "engine": "transformers",
        "model": str(weights),
        "threads": bench.threads,
        "precision": precision,
        "n_ctx": CONTEXT,
        "prompt": PROMPT,
        "n_predict": TOKENS,
        "options": {"loop_guard": 0},
    }


def _to(bench: Bench, ask: dict[str, Any]) -> dict[str, Any]:
    return {**ask, "report": str(_report(bench, ask["precision"]))}


def _report(bench: Bench, precision: str) -> Path:
    return bench.scratch / f"decode-{precision}.json"


def _ids(bench: Bench, ask: dict[str, Any]) -> list[int]:
    path = _report(bench, ask["precision"])
    ids: list[int] = json.loads(path.read_text(encoding="utf-8"))["ids"] if path.exists() else []
    return ids


def _quality(bench: Bench, weights: Path) -> dict[str, Any]:
    precisions = ["fp32", "bf16", "8bit", "4bit"]
    text = {"text": str(TEXT), "tokens": TEXT_TOKENS if bench.repeats > QUICK else QUICK_TEXT_TOKENS}
    ask = {
        "model": str(weights),
        "n_ctx": CONTEXT,
        "threads": bench.threads,
        "precisions": precisions,
        **text,
    }
    record: dict[str, Any] = reported(bench, "ours.quality", ask)
    return record


def _line(case: Case, turns: Turns[Child], ids: dict[str, list[int]], quality: dict[str, Any]) -> Line:
    ours, theirs = f"hermes {case.ours}", f"generate {case.theirs}"
    wrong = texts(turns.results[ours]) or texts(turns.results[theirs])
    wrong = wrong or (kept(quality) if quality else same("list of ids", ids[case.theirs], [ids[case.ours]]))
    hermes, peer = turns.median(ours, speed(TOKENS)), turns.median(theirs, speed(TOKENS))
    every = turns.record(speed(TOKENS))
    detail = {side: every[side] for side in (ours, theirs, "moments")} | (
        {"quality": quality} if quality else {}
    )
    return Line("C2", case.words, "tok/s", hermes, peer, case.goal, wrong, detail)


def texts(children: list[Child]) -> str:
    """Return what is wrong where a side failed, or did not always write the same."""
    return ended_well(children) or same("text", children[0].stdout, [c.stdout for c in children])


def kept(quality: dict[str, Any]) -> str:
    """Return what is wrong where 8-bit weights make another model of it."""
    found, most = quality["8bit"]["kl"], KL_LIMIT * quality["4bit"]["kl"]
    if found > most:
        return f"8-bit weights: {found:.4f} nats from float32, not {most:.4f} or less"
    found, most = quality["8bit"]["perplexity"], PERPLEXITY_LIMIT * quality["fp32"]["perplexity"]
    return f"8-bit weights: perplexity {found:.2f}, not {most:.2f} or less" if found > most else ""
