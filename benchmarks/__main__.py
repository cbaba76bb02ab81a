"""Run rows of the table: `python -m benchmarks [ROW…] [--repeats N] [--quick]`.

Prints one table, writes one JSON file under benchmarks/results/, and exits 1 where a gate failed.
"""

import argparse
import dataclasses
import datetime as dt
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Line
from benchmarks.rows import EXTRA, ROWS
from hermes_cli.models import hardware, starter
from hermes_cli.models.units import GIB

HERE = Path(__file__).parent
MODELS = HERE.parent / ".cache" / "models"
PACKAGES = (
    "openhermes-cli",
    "xllamacpp",
    "torch",
    "transformers",
    "bitsandbytes",
    "typer",
    "llm",
    "prompt_toolkit",
    "rich",
)
REPEATS = 5
QUICK = 2
COLUMNS = ("row", "measure", "hermes", "peer", "ratio", "goal", "met?")


def main(arguments: Sequence[str]) -> int:
    """Measure and return the exit code."""
    wanted = _parse(arguments)
    machine = hardware.probe()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as name:
        scratch = Path(name)
        model, home = starter.fetch(MODELS), scratch / "home"
        starter.path_in(home / "data" / "models").parent.mkdir(parents=True)
        starter.path_in(home / "data" / "models").symlink_to(model.resolve())
        bench = Bench(
            wanted.repeats,
            model.resolve(),
            home,
            scratch,
            Path(sys.executable).parent,
            machine.physical_cores,
        )
        about = _about(bench, machine)
        lines = [line for row in wanted.rows for line in _row(bench, row)]
    print(table(lines))
    for line in lines:
        if words := line.wrong or line.skipped:
            print(f"{line.row}: {line.measure}: {words}")
    print(f"\n{about['cpu']}, {bench.threads} threads, load {about['load average'][0]:.2f} at the start")
    print(f"written to {write(about, lines).relative_to(HERE.parent)}")
    return int(any(line.wrong for line in lines))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = [*ROWS, *EXTRA]
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(known)}; none means all but the last"
    )
    parser.add_argument("--repeats", type=int, help=f"of each side; {REPEATS} by default")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} repeats, to see that it works")
    wanted = parser.parse_args(arguments)
    spelled = {row.lower(): row for row in known}
    wanted.rows = [spelled.get(row.lower(), row) for row in wanted.rows] or list(ROWS)
    if unknown := [row for row in wanted.rows if row not in known]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(known)}")
    wanted.repeats = wanted.repeats or (QUICK if wanted.quick else REPEATS)
    return wanted


def _row(bench: Bench, row: str) -> list[Line]:
    print(f"measuring {row} …", file=sys.stderr, flush=True)
    return {**ROWS, **EXTRA}[row](bench)


def _about(bench: Bench, machine: hardware.Hardware) -> dict[str, Any]:
    """Return what has to be known to compare the figures with other ones."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cpu": machine.cpu,
        "physical cores": machine.physical_cores,
        "threads": bench.threads,
        "memory GiB": round(machine.memory_total / GIB, 1),
        "load average": os.getloadavg(),
        "repeats": bench.repeats,
        "model": bench.model.name,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table whose columns stand under each other."""
    rows = [COLUMNS, *((_cells(line)) for line in lines)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *texts[1:]])


def _cells(line: Line) -> tuple[str, ...]:
    if line.skipped:
        return line.row, line.measure, "-", "-", "-", "-", line.verdict
    hermes, peer = (f"{value:.4g} {line.unit}" for value in (line.hermes, line.peer))
    goal = str(line.goal) if line.goal else "-"
    return line.row, line.measure, hermes, peer, f"{line.ratio:.3g}x", goal, line.verdict


def write(about: dict[str, Any], lines: Sequence[Line]) -> Path:
    """Write one JSON file and return its path."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.json"
    rows = [
        {
            **dataclasses.asdict(line),
            "goal": str(line.goal or ""),
            "ratio": line.ratio,
            "verdict": line.verdict,
        }
        for line in lines
    ]
    path.write_text(
        json.dumps({**about, "lines": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
