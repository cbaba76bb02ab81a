"""Read damaged persona files: `python -m torture.cards [COUNT] [--seed N]`.

COUNT mutants of the formats are read with `table.read`, and each persona is changed, written and read again.
This runs in separate child processes. Each reports every exception that is not a PersonaError, every file,
program, connection or piece of code that Python's audit hook sees, its memory and the time.
Exits 1 if one of the bounds below does not hold.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import registry
from torture import mutants

COUNT: Final = 100_000
SEED: Final = 20_261_123
MOST_SECONDS: Final = 1.0
MOST_MEMORY: Final = 64 << 20
A_CHILD: Final = 2_000
"""Number of files that one process reads."""
_HANGS_S: Final = 30
_SHOWN: Final = 5
_SOURCE: Final = Path("some.file")
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_FORBIDDEN: Final = (
    *("os.", "shutil.", "socket.", "subprocess.", "pickle.", "ctypes.", "tempfile."),
    *("exec", "compile", "import"),
)
"""Prefixes of audit events that reading must not cause; `os.` covers creating, renaming and removing."""


@dataclass(slots=True)
class Result:
    count: int = 0
    read: int = 0
    seconds: float = 0.0
    slowest: str = ""
    memory: int = 0
    largest: str = ""
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, report: dict[str, Any]) -> None:
        what = report["what"]
        self.count += 1
        self.read += report["read"]
        self.wrong.update(f"{what}: {one}" for one in report["wrong"])
        self.seconds, self.slowest = max((self.seconds, self.slowest), (report["seconds"], what))
        self.memory, self.largest = max((self.memory, self.largest), (report["memory"], what))

    @property
    def is_good(self) -> bool:
        return not self.wrong and self.seconds <= MOST_SECONDS and self.memory <= MOST_MEMORY

    def __str__(self) -> str:
        return (
            f"{self.count:,} files, {self.read:,} of them read: {self.wrong.total():,} uncaught exceptions "
            f"and forbidden actions; at most {self.seconds:.2f} s ({self.slowest}) and "
            f"{self.memory / (1 << 20):.1f} MiB ({self.largest})"
        )


def torture(seed: int, count: int) -> Result:
    result = Result()
    for start in range(0, count, A_CHILD):
        numbers = range(start, min(count, start + A_CHILD))
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-B", "-m", "torture.cards", str(numbers.stop), "--from", str(start)]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
            child = subprocess.run(
                [*words, "--seed", str(seed)], cwd=folder, env=environment, stdout=PIPE, check=False
            )
            if files := list(Path(folder).iterdir()):
                raise OSError(f"it wrote {files}")
        reports = child.stdout.splitlines()
        for report in reports:
            result.add(json.loads(report))
        if len(reports) < len(numbers):
            result.wrong[f"number {start + len(reports)}: it ended or hung the process"] += 1
    return result


def read_mutants(seed: int, numbers: range) -> None:
    """Read mutants, and print a report on each as a line of JSON, with the memory above that at the start."""
    for data in mutants.SAMPLES.values():  # loads every module, and fills the library's caches
        _report(data, [])
    wrong = list[str]()
    status, refs = os.open("/proc/self/status", os.O_RDONLY), os.open("/proc/self/clear_refs", os.O_WRONLY)
    baseline = _memory(status, b"VmRSS:")
    sys.addaudithook(lambda event, arguments: _audit(event, arguments, wrong))
    for number in numbers:
        kind, data = mutants.mutant(seed, number)
        os.write(refs, b"5")  # the peak begins anew
        signal.alarm(_HANGS_S)
        report = _report(data, wrong)
        signal.alarm(0)
        memory = _memory(status, b"VmHWM:") - baseline
        print(json.dumps(report | {"what": f"{kind} (number {number})", "memory": memory}), flush=True)


def _report(data: bytes, wrong: list[str]) -> dict[str, Any]:
    wrong.clear()
    times, is_read = [time.process_time()], False
    try:
        found = registry.read(data, _SOURCE)
        is_read = True
        times.append(time.process_time())
        if found.persona and found.kind in registry.WRITABLE:
            made = registry.write(replace(found.persona, personality="other"), found.kind, data)
            times.append(time.process_time())
            del found  # frees the old one before the new one is read
            registry.read(made, _SOURCE)
    except PersonaError:
        pass
    except BaseException as error:  # noqa: BLE001 - the test looks for these
        place = traceback.extract_tb(error.__traceback__)[-1]
        wrong.append(f"{type(error).__name__}: {error} at {Path(place.filename).name}:{place.lineno}"[:300])
    times.append(time.process_time())
    seconds = max(later - before for before, later in itertools.pairwise(times))
    return {"read": is_read, "seconds": seconds, "wrong": list(wrong)}


def _audit(event: str, arguments: tuple[Any, ...], wrong: list[str]) -> None:
    if event == "open":
        _path, mode, flags = arguments
        if set(mode or "") & set("wax+") or (flags or 0) & _WRITING:
            wrong.append(f"it opens {arguments}")
    elif event.startswith(_FORBIDDEN):
        wrong.append(f"{event} {arguments}"[:300])


def _memory(status: int, which: bytes) -> int:
    """Return the current or the peak memory of this process in bytes, as reported by Linux."""
    lines = os.pread(status, 10_000, 0).splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m torture.cards", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--from", type=int, dest="start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start is not None:
        read_mutants(options.seed, range(options.start, options.count))
        return 0
    result = torture(options.seed, options.count)
    for what, times in result.wrong.most_common(_SHOWN):
        print(f"{times:,} times: {what}", flush=True)
    print(f"seed {options.seed}: {result}", flush=True)
    return int(not result.is_good)


if __name__ == "__main__":
    sys.exit(main())
