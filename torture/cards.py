"""Read damaged persona files: `python -m torture.cards [COUNT] [--seed N]`.

COUNT mutants of the formats are read with `table.read`, and each persona is changed, written and read again.
This runs in separate child processes. Each reports every exception that is not a PersonaError, every file,
program, connection or piece of code that Python's audit hook sees, its memory and the time.
Exits 1 if one of the bounds below does not hold.
"""

import argparse
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import table
from torture import mutants

COUNT: Final = 100_000
SEED: Final = 20_261_123
MOST_SECONDS: Final = 1.0
MOST_MEMORY: Final = 64 << 20
A_CHILD: Final = 2_000
"""Number of files that one process reads."""
_HANGS_S: Final = 30
_SHOWN: Final = 5
_LENGTH: Final = struct.Struct(">I")
_SOURCE: Final = Path("some.file")
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_FORBIDDEN: Final = (
    *("os.", "shutil.", "socket.", "subprocess.", "pickle.", "ctypes.", "tempfile."),
    *("exec", "compile", "import"),
)
"""Prefixes of audit events that reading must not cause; `os.` covers creating, renaming and removing."""


@dataclass(slots=True)
class Result:
    """The result of a run."""

    count: int = 0
    read: int = 0
    seconds: float = 0.0
    slowest: str = ""
    memory: int = 0
    largest: str = ""
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, report: dict[str, Any], baseline: int) -> None:
        """Add a child's report about one file."""
        self.count += 1
        self.read += report["read"]
        self.wrong.update(f"{what}: {one}" for one in report["wrong"])
        self.seconds, self.slowest = max((self.seconds, self.slowest), (report["seconds"], what))
        self.memory, self.largest = max((self.memory, self.largest), (report["memory"] - baseline, what))

    @property
    def is_good(self) -> bool:
        """Whether all bounds hold."""
        return not self.wrong and self.seconds <= MOST_SECONDS and self.memory <= MOST_MEMORY

    def __str__(self) -> str:
        return (
            f"{self.count:,} files, {self.read:,} of them read: {self.wrong.total():,} uncaught exceptions "
            f"and forbidden actions; at most {self.seconds:.2f} s ({self.slowest}) and "
            f"{self.memory / (1 << 20):.1f} MiB ({self.largest})"
        )


def torture(seed: int, count: int) -> Result:
    """Read `count` mutants of a seed, one after another."""
    result = Result()
    for start in range(0, count, A_CHILD):
        with _child() as (stdin, stdout):
            baseline = json.loads(stdout.readline())["memory"]
            for number in range(start, min(count, start + A_CHILD)):
                kind, data = mutants.mutant(seed, number)
                what = f"{kind} (number {number})"
                stdin.write(_LENGTH.pack(len(data)) + data)
                stdin.flush()
                line = stdout.readline()
                if not line:
                    result.wrong[f"{what}: it ended or hung the process"] += 1
                    break
                result.add(what, json.loads(line), baseline)
    return result


@contextlib.contextmanager
def _child() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Start a child in an empty folder, which must be empty at its end."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "torture.cards", "--child"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if process.stdin is None or process.stdout is None:
            raise OSError("a pipe to the child is missing")
        with process:
            yield process.stdin, process.stdout
            process.stdin.close()
        if files := list(Path(folder).iterdir()):
            raise OSError(f"it wrote {files}")


def read_files() -> None:
    """Read files from standard input, each after its length, and report on each in a line of JSON."""
    for data in mutants.SAMPLES.values():  # loads every module, and fills the library's caches
        _report(data, [])
    wrong = list[str]()
    memory = os.open("/proc/self/status", os.O_RDONLY)
    sys.addaudithook(lambda event, arguments: _audit(event, arguments, wrong))
    print(json.dumps({"memory": _memory(memory, b"VmRSS:")}), flush=True)
    while head := sys.stdin.buffer.read(_LENGTH.size):
        data = sys.stdin.buffer.read(*_LENGTH.unpack(head))
        signal.alarm(_HANGS_S)
        report = _report(data, wrong)
        signal.alarm(0)
        print(json.dumps(report | {"memory": _memory(memory, b"VmHWM:")}), flush=True)


def _report(data: bytes, wrong: list[str]) -> dict[str, Any]:
    """Read a file, change the persona, write it, read that again, and return a report."""
    wrong.clear()
    seconds, is_read = [0.0], False

    @contextlib.contextmanager
    def timed() -> Iterator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            seconds.append(time.process_time() - began)

    try:
        with timed():
            found = table.read(data, _SOURCE)
        is_read = True
        if found.persona and found.kind in table.WRITABLE:
            with timed():
                made = table.write(replace(found.persona, personality="other"), found.kind, data)
            del found  # frees the old one before the new one is read
            table.read(made, _SOURCE)
    except PersonaError:
        pass
    except BaseException as error:  # noqa: BLE001 - the test looks for these
        place = traceback.extract_tb(error.__traceback__)[-1]
        wrong.append(f"{type(error).__name__}: {error} at {Path(place.filename).name}:{place.lineno}"[:300])
    return {"read": is_read, "seconds": max(seconds), "wrong": list(wrong)}


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
    """Run the test, print the figures in one line, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m torture.cards", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        read_files()
        return 0
    result = torture(options.seed, options.count)
    for what, times in result.wrong.most_common(_SHOWN):
        print(f"{times:,} times: {what}", flush=True)
    print(f"seed {options.seed}: {result}", flush=True)
    return int(not result.is_good)


if __name__ == "__main__":
    sys.exit(main())
