"""Run rows of the table: `python -m benchmarks [ROW…] [--repeats N] [--quick]`.

Prints one table, writes one JSON file under benchmarks/results/, and exits 1 if a gate failed.
"""

import argparse
import datetime as dt
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import QUIET_PATIENCE_S, Bench, Line
from benchmarks.report import RESULTS, report, version
from benchmarks.rows import DEFAULT, ROWS
from hermes_cli.models import hardware, starter
from hermes_cli.models.units import GIB

ROOT = Path(__file__).parents[1]
MODELS = ROOT / ".cache" / "models"
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

Rows = Mapping[str, Callable[[Bench], list[Line]]]


def main(arguments: Sequence[str], known: Rows = ROWS, results: Path = RESULTS) -> int:
    """Measure the requested rows, write a file under `results`, and return the exit code."""
    wanted = _parse(arguments, list(known))
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
            0 if wanted.quick else QUIET_PATIENCE_S,
        )
        about = _about(bench, machine)
        lines, about["seconds"] = measured({row: known[row] for row in wanted.rows}, bench)
    print(f"{about['cpu']}, {bench.threads} threads, load {about['load average'][0]:.2f} at the start\n")
    return report(about, lines, results)


def _parse(arguments: Sequence[str], known: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    default = ", ".join(DEFAULT)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(known)}; none means {default}")
    parser.add_argument("--repeats", type=int, help=f"of each side; {REPEATS} by default")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK} repeats at any moment, to see that it works"
    )
    wanted = parser.parse_args(arguments)
    spelled = {row.lower(): row for row in known}
    wanted.rows = [spelled.get(row.lower(), row) for row in wanted.rows] or list(DEFAULT)
    if unknown := [row for row in wanted.rows if row not in known]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(known)}")
    wanted.repeats = wanted.repeats or (QUICK if wanted.quick else REPEATS)
    return wanted


def measured(rows: Rows, bench: Bench) -> tuple[list[Line], dict[str, float]]:
    """Return the lines of all rows and the seconds each took. A failed row does not stop the others."""
    lines: list[Line] = []
    seconds = {}
    for name, row in rows.items():
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            lines += row(bench)
        except RuntimeError as error:
            lines.append(Line(name, "broke off", "", 0, 0, wrong=str(error)))
        seconds[name] = round(time.monotonic() - began, 1)
    return lines, seconds


def _about(bench: Bench, machine: hardware.Hardware) -> dict[str, Any]:
    """Return the facts that are needed to compare the figures with others."""
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
        "versions": {name: version(name) for name in PACKAGES},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
