"""C2: tokens per second of the transformers engine on the CPU, with its text written to a pipe.

Measured as in C1: (tokens - 1) over the time from the first piece of text to the last. Peer, run directly
after hermes: `generate` with a streamer, and the same weights, dtype, ids, threads and number of tokens,
greedy; a separate process in each repeat. hermes' 8-bit weights are compared with `generate` in bfloat16.

Gates: both sides generate the requested number of tokens and always write the same text, and hermes' ids are
those that the library's own model predicts (`rows/hf.py`). For 8-bit weights, which give other logits:
`ours/quality.py` reads a real text with them, and its perplexity and the mean KL divergence of the next
token's distribution from float32 stay within PERPLEXITY_LIMIT and KL_LIMIT.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Child, Goal, Line, Turns, ended_well, not_measured, same, turns_about
from benchmarks.rows.c1 import PROMPT, speed
from benchmarks.rows.c3 import common
from benchmarks.rows.hf import PATIENCE_S, process, reported, scored, unlikely, widest
from benchmarks.weights import ROOT, folder, missing

TOKENS = 96
CONTEXT = 2048
TEXT = ROOT / "README.md"
TEXT_TOKENS = 512
KL_LIMIT = 0.1
"""Share of NF4's divergence on the same text. NF4 is hermes' own choice if 16 bits do not fit."""
PERPLEXITY_LIMIT = 1.02
"""Times float32's. In 512 tokens half a percent either way is chance; bfloat16 alone changes it as much."""
FAST = Goal(1.0, at_least=True)
FASTER = Goal(1.4, at_least=True)


@dataclass(frozen=True, slots=True)
class Case:
    """A line: the precisions of hermes and of `generate`, and whether weights and ids must be equal."""

    ours: str
    theirs: str
    words: str
    goal: Goal | None
    same_weights: bool = True

    @property
    def sides(self) -> tuple[str, str]:
        """The names of the two sides."""
        return f"hermes {self.ours}", f"generate {self.theirs}"


CASES = (
    Case("fp32", "float32", "decode in float32 beside generate", FAST),
    Case("bf16", "bfloat16", "decode in bfloat16 beside generate", FAST),
    Case(
        "8bit",
        "bfloat16",
        "decode with 8-bit weights beside bfloat16 generate",
        FASTER,
        same_weights=False,
    ),
    Case("4bit", "nf4", "decode with NF4 weights beside generate with the same", None),
)


def measure(bench: Bench) -> list[Line]:
    """Measure the row and return a line per precision."""
    if words := missing():
        return [not_measured("C2", "decode, transformers engine", words)]
    weights = folder(bench)
    common_words = {"model": str(weights), "n_predict": TOKENS}
    ours = {**common_words, "engine": "transformers", "n_ctx": CONTEXT, "prompt": PROMPT}
    prompt = reported(bench, "ours.decode", {**ours, "precision": "8bit"})["prompt"]
    theirs = {**common_words, "prompt": prompt}
    sides = {}
    for case in CASES:
        hermes, generate = case.sides
        sides[hermes] = _decoding(bench, "ours.decode", ours, case.ours)
        sides[generate] = _decoding(bench, "peers.generate", theirs, case.theirs)
    turns = turns_about(sides, bench.repeats, warm_up=False, patience_s=min(PATIENCE_S, bench.patience_s))
    return [_line(bench, weights, case, turns, prompt) for case in CASES]


def _decoding(bench: Bench, module: str, ask: dict[str, Any], precision: str) -> Any:
    report = str(_report(bench, precision))
    return process(bench, module, {**ask, "precision": precision, "report": report})


def _report(bench: Bench, precision: str) -> Path:
    return bench.scratch / f"decode-{precision}.json"


def _ids(bench: Bench, precision: str) -> list[int]:
    path = _report(bench, precision)
    ids: list[int] = json.loads(path.read_text(encoding="utf-8"))["ids"] if path.exists() else []
    return ids


def _line(bench: Bench, weights: Path, case: Case, turns: Turns[Child], prompt: list[int]) -> Line:
    ours, theirs = _ids(bench, case.ours), _ids(bench, case.theirs)
    wrong = steady(*(turns.results[side] for side in case.sides)) or whole(ours, theirs)
    every = turns.record(speed(TOKENS))
    detail = {side: every[side] for side in (*case.sides, "moments")}
    if case.same_weights:
        gaps = scored(bench, weights, case.theirs, [{"prompt": prompt, "ids": ours, "ended": False}])
        wrong = wrong or unlikely(gaps, case.theirs)
        detail |= {"widest near tie, nats": widest(gaps), "ids in common": common(ours, theirs)}
    else:
        detail["quality"] = _quality(bench, weights)
        wrong = wrong or kept(detail["quality"])
    hermes, peer = (turns.median(side, speed(TOKENS)) for side in case.sides)
    return Line("C2", case.words, "tok/s", hermes, peer, case.goal, wrong, detail)


def _quality(bench: Bench, weights: Path) -> dict[str, Any]:
    ask = {
        "model": str(weights),
        "n_ctx": CONTEXT,
        "precisions": ["fp32", "bf16", "8bit", "4bit"],
        "text": str(TEXT),
        "tokens": TEXT_TOKENS,
    }
    record: dict[str, Any] = reported(bench, "ours.quality", ask)
    return record


def steady(*sides: Sequence[Child]) -> str:
    """Return an error text if a side failed, or did not always write the same text."""
    for children in sides:
        texts = [child.stdout for child in children]
        if wrong := ended_well(children) or same("text", texts[0], texts):
            return wrong
    return ""


def whole(*answers: Sequence[int]) -> str:
    """Return an error text if an answer ended early: its time would be divided by too many tokens."""
    return same("number of tokens", TOKENS, map(len, answers))


def kept(quality: dict[str, Any]) -> str:
    """Return an error text if 8-bit weights change the model's predictions too much."""
    found, most = quality["8bit"]["kl"], KL_LIMIT * quality["4bit"]["kl"]
    if found > most:
        return f"8-bit weights: {found:.4f} nats from float32, not {most:.4f} or less"
    found, most = quality["8bit"]["perplexity"], PERPLEXITY_LIMIT * quality["fp32"]["perplexity"]
    return f"8-bit weights: perplexity {found:.2f}, not {most:.2f} or less" if found > most else ""
