"""C10 on the transformers engine: peak memory of an answer of 256 tokens, weights in bfloat16.

Measured: the largest resident size of the whole process `hermes ask -m FOLDER --precision bf16`, as the
kernel reports it. Peer: a bare loop over `model(...)` with transformers' DynamicCache, and the same ids and
number of tokens. Gate: the same text. The record has the ratio of both to the size of the weights.
"""

from pathlib import Path

from benchmarks.measure import (
    Bench,
    Child,
    Goal,
    Line,
    ended_well,
    not_measured,
    run_child,
    same,
    turns_about,
)
from benchmarks.rows.c10 import CONTEXT, MIB, PROMPT
from benchmarks.rows.hf import process
from benchmarks.rows.program import GREEDY, prompt_ids
from benchmarks.weights import folder, missing

ROW = "C10-transformers"
WHAT = "peak memory beside a bare transformers loop"
GOAL = Goal(1.15, at_least=False)
TOKENS = 256


def measure(bench: Bench) -> list[Line]:
    """Measure the row and return its line."""
    if words := missing():
        return [not_measured(ROW, WHAT, words)]
    weights = folder(bench)
    model = ("-m", str(weights))
    how = (*GREEDY, "--precision", "bf16", "--device", "cpu", "--context", str(CONTEXT))
    hermes = bench.programs / "hermes"
    ask: list[str | Path] = [hermes, "ask", PROMPT, "--max-tokens", str(TOKENS), *how, *model]
    ids = prompt_ids(bench, PROMPT, *model)
    peer = {"model": str(weights), "precision": "bfloat16", "prompt": ids, "n_predict": TOKENS}
    sides = {
        "hermes": lambda: run_child(ask, bench.environment()),
        "peer": process(bench, "peers.loop", peer),
    }
    turns = turns_about(sides, bench.repeats, warm_up=False, patience_s=0)
    ours, theirs = (turns.median(side, lambda c: c.max_rss / MIB) for side in sides)
    size = sum(path.stat().st_size for path in weights.glob("*.safetensors")) / MIB
    detail = {
        **turns.record(lambda c: c.max_rss / MIB),
        "weights": round(size, 1),
        "hermes over weights": round(ours / size, 2),
        "peer over weights": round(theirs / size, 2),
    }
    wrong = gate(turns.results["hermes"], turns.results["peer"])
    return [Line(ROW, WHAT, "MiB", ours, theirs, GOAL, wrong, detail)]


def gate(hermes: list[Child], peer: list[Child]) -> str:
    """Return an error text if hermes' text is not the loop's text and one newline."""
    wrong = ended_well([*hermes, *peer])
    return wrong or same("text", peer[0].stdout + b"\n", [child.stdout for child in hermes])
