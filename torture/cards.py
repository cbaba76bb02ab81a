"""Read damaged persona files: `python -m torture.cards [COUNT]`.

COUNT mutants of the formats are read, and each persona is changed, written and read again, in separate child
processes. Each reports every exception that is not a PersonaError, every file, program, connection or piece
of code that Python's audit hook sees, its memory and the time. Exits 1 if one of the bounds below does not
hold.
"""

import contextlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
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
_MORE_ADDRESSES: Final = 192 << 20
"""The limit of the address space that reading one file may add. A file that exceeds it raises MemoryError."""
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
    slowest: tuple[float, str] = (0, "")
    largest: tuple[int, str] = (0, "")
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, report: dict[str, Any]) -> None:
        what = report["what"]
        self.count += 1
        self.read += report["read"]
        self.wrong.update(f"{what}: {reason}" for reason in report["wrong"])
        self.slowest = max(self.slowest, (report["seconds"], what))
        self.largest = max(self.largest, (report["memory"], what))

    @property
    def is_good(self) -> bool:
        return not self.wrong and self.slowest[0] <= MOST_SECONDS and self.largest[0] <= MOST_MEMORY


def torture(count: int) -> Result:
    result = Result()
    # A fixed threshold returns the memory of large blocks at once; it is not counted for the next file.
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
    environment = {**os.environ, **malloc, "PYTHONPATH": str(Path(__file__).parents[1])}
    for start in range(0, count, A_CHILD):
        numbers = range(start, min(count, start + A_CHILD))
        command = [sys.executable, "-B", "-m", "torture.cards", str(numbers.stop), str(start)]
        with tempfile.TemporaryDirectory() as folder:
            child = subprocess.run(command, cwd=folder, env=environment, stdout=PIPE, check=False)
            if files := list(Path(folder).iterdir()):
                raise OSError(f"it wrote {files}")
        reports = child.stdout.splitlines()
        for report in reports:
            result.add(json.loads(report))
        if len(reports) < len(numbers):
            result.wrong[f"number {start + len(reports)}: it ended or hung the process"] += 1
    return result


def read_mutants(numbers: range) -> None:
    """Read mutants, and print a report on each as a line of JSON, with the memory above that at the start."""
    for data in mutants.SAMPLES.values():  # loads every module, and fills the library's caches
        _report(data, [])
    wrong = list[str]()
    status, refs = os.open("/proc/self/status", os.O_RDONLY), os.open("/proc/self/clear_refs", os.O_WRONLY)
    baseline = _memory(status, b"VmRSS:")
    sys.addaudithook(lambda event, arguments: _audit(event, arguments, wrong))
    for number in numbers:
        kind, data = mutants.mutant(SEED, number)
        os.write(refs, b"5")  # the peak begins anew
        signal.alarm(_HANGS_S)
        _limit_addresses(_memory(status, b"VmSize:") + _MORE_ADDRESSES)
        report = _report(data, wrong)
        _limit_addresses(resource.RLIM_INFINITY)
        signal.alarm(0)
        memory = _memory(status, b"VmHWM:") - baseline
        print(json.dumps(report | {"what": f"{kind} (number {number})", "memory": memory}), flush=True)


def _limit_addresses(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _report(data: bytes, wrong: list[str]) -> dict[str, Any]:
    wrong.clear()
    times, is_read = [time.process_time()], False
    try:
        found = registry.read(data, _SOURCE)
        is_read = True
        with contextlib.suppress(PersonaError):
            registry.picture(data, found.kind, _SOURCE)
        times.append(time.process_time())
        if found.persona and found.kind in registry.WRITABLE:
            made = registry.write(found.persona._replace(personality="other"), found.kind, data)
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
    count, *start = [int(word) for word in sys.argv[1:]] or [COUNT]
    if start:
        read_mutants(range(start[0], count))
        return 0
    result = torture(count)
    for what, times in result.wrong.most_common(_SHOWN):
        print(f"{times:,} times: {what}", flush=True)
    print(f"{result.count:,} files, {result.read:,} of them read, {result.wrong.total():,} things wrong")
    (seconds, slowest), (memory, largest) = result.slowest, result.largest
    print(f"at most {seconds:.2f} s ({slowest}) and {memory / (1 << 20):.1f} MiB ({largest})")
    return int(not result.is_good)


if __name__ == "__main__":
    sys.exit(main())
