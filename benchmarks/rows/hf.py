"""What the rows of the transformers engine share: its processes, and `generate`'s answers to a list."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Child, ended_well, run_child
from benchmarks.weights import ROOT

PATIENCE_S = 6.0
"""These rows have many sides: on a machine that is never quiet they would wait for an hour."""


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


def generated(bench: Bench, folder: Path, precision: str, requests: list[dict[str, Any]]) -> list[Any]:
    """Return `generate`'s answers to prompts of ids, as `peers/generate_ids.py` writes them."""
    asked = bench.scratch / "asked.json"
    asked.write_text(json.dumps(requests), encoding="utf-8")
    ask = {"model": str(folder), "precision": precision, "requests": str(asked)}
    records: list[Any] = reported(bench, "peers.generate_ids", ask)
    return records
