"""The report of a run: one table on the screen, and one JSON file with every value."""

import dataclasses
import datetime as dt
import importlib.metadata
import importlib.util
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("row", "measure", "hermes", "peer", "ratio", "goal", "met?")


@dataclass(frozen=True, slots=True)
class Goal:
    sign: Literal["≥", "≤"]
    limit: float

    def met(self, ratio: float) -> bool:
        return ratio >= self.limit if self.sign == "≥" else ratio <= self.limit

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:.3g}x"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    `wrong` is the reason why the result is invalid, `skipped` the reason why there is none. The runner sets
    `row`, the name of the row.
    """

    measure: str
    unit: str
    hermes: float
    peer: float
    goal: Goal | None = None
    wrong: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""
    row: str = ""

    @property
    def ratio(self) -> float:
        return self.hermes / self.peer if self.peer else float("nan")

    @property
    def verdict(self) -> str:
        if self.skipped:
            return "not measured"
        if self.wrong:
            return "FAILED"
        if self.goal is None:
            return "-"
        return "yes" if self.goal.met(self.ratio) else "no"


def report(about: Mapping[str, Any], lines: Sequence[Line], folder: Path) -> int:
    """Print the table and the errors, write one JSON file, and return 1 if a gate failed, else 0."""
    print(table(lines))
    for line in lines:
        if reason := line.wrong or line.skipped:
            print(f"{line.row}: {line.measure}: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.json"
    rows = []
    for line in lines:
        ratio, goal = line.ratio if line.peer else None, str(line.goal or "")
        rows.append({**dataclasses.asdict(line), "goal": goal, "ratio": ratio, "verdict": line.verdict})
    path.write_text(json.dumps({**about, "lines": rows}, indent=1, ensure_ascii=False), encoding="utf-8")
    print(f"\nwritten to {path}")
    return int(any(line.wrong for line in lines))


def table(lines: Sequence[Line]) -> str:
    rows = [COLUMNS, *map(_cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _cells(line: Line) -> tuple[str, ...]:
    if not line.unit:  # nothing was measured
        return line.row, line.measure, "-", "-", "-", "-", line.verdict
    hermes, peer = (f"{value:.4g} {line.unit}" for value in (line.hermes, line.peer))
    goal = str(line.goal) if line.goal else "-"
    return line.row, line.measure, hermes, peer, f"{line.ratio:.3g}x", goal, line.verdict


def environment(packages: Sequence[str]) -> dict[str, Any]:
    found = (one for name in packages for one in importlib.metadata.distributions(name=name))
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "load average": os.getloadavg(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {one.name: one.version for one in found},
    }


def missing(packages: Sequence[str]) -> str:
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}; 'make bench' installs what the rows need" if absent else ""
