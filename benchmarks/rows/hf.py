"""Shared code of the transformers engine's rows: its processes, and the gate for its answers.

The gate is the library's own model: in one pass over the same ids, without a cache, every id that hermes
chose is as likely as the likeliest one, within NEAR_TIE. That checks every token of an answer, whereas a
comparison with `generate`'s ids is meaningless after the first near tie that fell the other way.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Child, ended_well, run_child
from benchmarks.weights import ROOT

PATIENCE_S = 6.0
"""These rows have many sides, so on a machine that is never quiet the usual limit would add up to an hour."""
NEAR_TIE = {"float32": 0.001, "bfloat16": 0.25, "nf4": 0.25}
"""Nats, by the peer's precision: the difference in rounding between ids evaluated singly and together.
bfloat16 has eight binary digits, so a logit of 16 to 32 is a multiple of 0.125."""


def process(bench: Bench, module: str, ask: dict[str, Any]) -> Callable[[], Child]:
    """Return a function that runs one of the benchmarks' modules with the JSON object `ask`."""
    words = json.dumps({"threads": bench.threads, **ask})
    command: list[str | Path] = [sys.executable, "-m", f"benchmarks.{module}", words]
    return lambda: run_child(command, bench.environment(), folder=ROOT)


def reported(bench: Bench, module: str, ask: dict[str, Any]) -> Any:
    """Run a module that writes a report, and return the report. Raises RuntimeError if it fails."""
    report = bench.scratch / "report.json"
    if wrong := ended_well([process(bench, module, {**ask, "report": str(report)})()]):
        raise RuntimeError(f"{module}: {wrong}")
    return json.loads(report.read_text(encoding="utf-8"))


def answered(bench: Bench, peer: str, folder: Path, precision: str, requests: Sequence[Any]) -> list[Any]:
    """Run a peer on a list of requests, and return one record each. Raises RuntimeError if it fails."""
    asked = bench.scratch / "asked.json"
    asked.write_text(json.dumps(requests), encoding="utf-8")
    ask = {"model": str(folder), "precision": precision, "requests": str(asked)}
    records: list[Any] = reported(bench, f"peers.{peer}", ask)
    return records


def scored(
    bench: Bench, folder: Path, precision: str, answers: Sequence[dict[str, Any]]
) -> list[list[float]]:
    """Return the gaps of answers, each with prompt, ids and ended, as computed by `peers/score.py`."""
    return answered(bench, "score", folder, precision, answers)


def unlikely(gaps: Sequence[Sequence[float]], precision: str) -> str:
    """Return an error text if the library's own model would have chosen another id."""
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
