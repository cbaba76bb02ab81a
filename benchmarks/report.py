"""The report of a run: one table on the screen, and one JSON file with every value."""

import dataclasses
import datetime as dt
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Line

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("row", "measure", "hermes", "peer", "ratio", "goal", "met?")


def report(about: Mapping[str, Any], lines: Sequence[Line], folder: Path) -> int:
    """Print the table and the errors, write one JSON file, and return 1 if a gate failed, else 0."""
    print(table(lines))
    for line in lines:
        if words := line.wrong or line.skipped:
            print(f"{line.row}: {line.measure}: {words}")
    print(f"\nwritten to {_write(about, lines, folder)}")
    return int(any(line.wrong for line in lines))


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table with aligned columns."""
    rows = [COLUMNS, *((_cells(line)) for line in lines)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *texts[1:]])


def _cells(line: Line) -> tuple[str, ...]:
    if not line.unit:  # nothing was measured
        return line.row, line.measure, "-", "-", "-", "-", line.verdict
    hermes, peer = (f"{value:.4g} {line.unit}" for value in (line.hermes, line.peer))
    goal = str(line.goal) if line.goal else "-"
    return line.row, line.measure, hermes, peer, f"{line.ratio:.3g}x", goal, line.verdict


def _write(about: Mapping[str, Any], lines: Sequence[Line], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.json"
    rows = [
        {
            **dataclasses.asdict(line),
            "goal": str(line.goal or ""),
            "ratio": line.ratio if line.peer else None,
            "verdict": line.verdict,
        }
        for line in lines
    ]
    path.write_text(
        json.dumps({**about, "lines": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return path


def version(package: str) -> str:
    """Return the version of an installed package, or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
