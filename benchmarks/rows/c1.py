"""C1: tokens per second while an answer is decoded and its text is written to a pipe.

Measured: (tokens - 1) over the time from the first piece of text to the last, at the reader of the pipe.
Peer: a bare xllamacpp loop with the same ids, threads and number of tokens, greedy, and the library's
defaults. Each side is a separate process in each repeat. Gate: hermes generates the same ids as the bare
engine, and every run of both writes the same text.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Child, Goal, Line, ended_well, run_child, same, turns_about

GOAL = Goal(0.98, at_least=True)
PROMPT = "Write a long story about a lighthouse keeper and her dog."
TOKENS = 128
CONTEXT = 2048
PEERS = Path(__file__).parents[1] / "peers"
ROOT = PEERS.parents[1]


def measure(bench: Bench) -> list[Line]:
    """Measure the row and return its line."""
    sides, wrong = decoders(bench, TOKENS)
    turns = turns_about(sides, bench.repeats, patience_s=bench.patience_s)
    children = [child for given in turns.results.values() for child in given]
    wrong = wrong or ended_well(children) or same("text", children[-1].stdout, [c.stdout for c in children])
    hermes, peer = turns.median("hermes", speed(TOKENS)), turns.median("peer", speed(TOKENS))
    what = "decode beside a bare xllamacpp loop"
    return [Line("C1", what, "tok/s", hermes, peer, GOAL, wrong, turns.record(speed(TOKENS)))]


def speed(tokens: int) -> Any:
    """Return a function that returns the tokens per second of a child."""
    return lambda child: (tokens - 1) / child.text_s if child.text_s else 0.0


def decoders(
    bench: Bench, tokens: int, variables: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """Return the two sides for that many tokens, and an error text about hermes' ids, which is empty if none.

    `variables` are added to both sides' environment.
    """
    report = bench.scratch / "decode.json"
    common = {"model": str(bench.model), "threads": bench.threads, "n_ctx": CONTEXT}
    ours = json.dumps(
        {**common, "engine": "llama.cpp", "prompt": PROMPT, "n_predict": tokens, "report": str(report)}
    )
    environment = bench.environment(**(variables or {}))

    def hermes() -> Child:
        return run_child([sys.executable, "-m", "benchmarks.ours.decode", ours], environment, folder=ROOT)

    wrong = ended_well([hermes()])
    if wrong:
        return {"hermes": hermes, "peer": hermes}, wrong
    made = json.loads(report.read_text(encoding="utf-8"))
    request = {"prompt": made["prompt"], "n_predict": tokens}
    theirs = json.dumps({**common, "request": request})

    def peer() -> Child:
        return run_child([sys.executable, PEERS / "bare.py", theirs], environment)

    expected = answers(bench, [request], n_ctx=CONTEXT)[0]["ids"]
    return {"hermes": hermes, "peer": peer}, same("list of ids", expected, [made["ids"]])


def answers(
    bench: Bench, requests: list[dict[str, Any]], *, n_ctx: int, n_batch: int = 512
) -> list[dict[str, Any]]:
    """Return the bare engine's ids and counts for each request. Raises RuntimeError if it fails."""
    report, asked = bench.scratch / "answers.json", bench.scratch / "requests.json"
    asked.write_text(json.dumps(requests), encoding="utf-8")
    words = {
        "model": str(bench.model),
        "threads": bench.threads,
        "n_ctx": n_ctx,
        "n_batch": n_batch,
        "report": str(report),
        "requests": str(asked),
    }
    child = run_child([sys.executable, PEERS / "ids.py", json.dumps(words)], bench.environment())
    if wrong := ended_well([child]):
        raise RuntimeError(f"the bare engine: {wrong}")
    records: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))
    return records
