"""What the rows of the transformers engine share: its processes, and the gate that its answers pass.

The gate is the library's own model: given the same ids in one pass, with no cache, it finds every id that
hermes chose as likely as the likeliest, within NEAR_TIE. That holds at every token of an answer, where a
comparison with `generate`'s ids says nothing behind the first near tie that fell the other way.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Child, ended_well, run_child
from benchmarks.weights import ROOT

PATIENCE_S = 6.0
"""These rows have many sides: on a machine that is never quiet they would wait for an hour."""
NEAR_TIE = {"float32": 0.001, "bfloat16": 0.25, "nf4": 0.25}
"""Nats, by the peer's precision: what evaluating ids singly and together rounds differently. bfloat16 has
eight binary digits, so that a logit of 16 to 32 is a multiple of 0.125."""


def process(bench: Bench, module: str, ask: dict[str, Any]) -> Callable[[], Child]:
    """Return what runs one of the benchmarks' modules with its words."""
    words = json.dumps({"threads": bench.threads, **ask})
    command: list[str | Path] = [sys.executable, "-m", f"benchmarks.{module}", words]
    return lambda: run_child(command, bench.environment(), folder=ROOT)


def reported(bench: Bench, module: str, ask: dict[str, Any]) -> Any:
    """Run a module that reports to a file, and return that. Raises RuntimeError where it fails."""
    report = bench.scratch / "report.json"
    if wrong := ended_well([process(bench, module, {**ask, "report": str(report)})()]):
        raise RuntimeError(f"{module}: {wrong}")
    return json.loads(report.read_text(encoding="utf-8"))


def answered(bench: Bench, peer: str, folder: Path, precision: str, requests: Sequence[Any]) -> list[Any]:
    """Return what a peer says of a list of requests, a record each. Raises RuntimeError where it fails."""
    asked = bench.scratch / "asked.json"
    asked.write_text(json.dumps(requests), encoding="utf-8")
    ask = {"model": str(folder), "precision": precision, "requests": str(asked)}
    records: list[Any] = reported(bench, f"peers.{peer}", ask)
    return records


def scored(
    bench: Bench, folder: Path, precision: str, answers: Sequence[dict[str, Any]]
) -> list[list[float]]:
    """Return the gaps of answers, each with prompt, ids and ended, as `peers/score.py` finds them."""
    return answered(bench, "score", folder, precision, answers)


def unlikely(gaps: Sequence[Sequence[float]], precision: str) -> str:
    """Return what is wrong where the library's own model would have said something else."""
    for answer, places in enumerate(gaps, 1):
        for place, gap in enumerate(places, 1):
            if not gap <= NEAR_TIE[precision]:  # nan is not
                return (
                    f"answer {answer}, token {place}: {gap:.4f} nats less likely than what the library says "
                    f"there, not {NEAR_TIE[precision]} or less"
                )
    return ""


def widest(gaps: Sequence[Sequence[float]]) -> float:
    """Return the largest gap."""
    return round(max((gap for places in gaps for gap in places), default=0.0), 6)
