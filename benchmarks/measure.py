"""Measuring: child processes, interleaved repeats, waiting for a quiet machine, medians, and errors."""

import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from benchmarks.report import Goal, Line

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
KIB, MIB = 1 << 10, 1 << 20
IDLE_SHARE = 0.93
"""Share of CPU time that must be idle before a repeat begins."""
WINDOW_S = 0.3
SAMPLE_S = 0.05
PATIENCE_S = 20.0
"""How long a repeat waits for a quiet machine; then it runs anyway, which is recorded."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that has ended. Times are in seconds, `cpu_s` is user and system time, `max_rss` is in bytes.

    `max_rss` is the peak of the process or of a child that it has waited for, and those of the others.
    `text_s` is the time from the first piece of standard output to the last. `value` is the value that the
    called function returned.
    """

    code: int
    stdout: bytes
    stderr: bytes
    wall_s: float
    cpu_s: float
    max_rss: int
    text_s: float
    value: Any = None


class _ChildPeaks(threading.Thread):
    """Samples the peak memory of the children of a process until it ends: llama.cpp runs in one."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._peaks = dict[int, int]()

    @property
    def total(self) -> int:
        """The sum of the peaks in bytes."""
        return sum(self._peaks.values())

    def run(self) -> None:
        while Path(f"/proc/{self._pid}/task").exists():
            for file in Path(f"/proc/{self._pid}/task").glob("*/children"):
                with suppress(OSError):  # the thread has ended
                    self._peaks.update(_peaks_of(map(int, file.read_text().split())))
            time.sleep(SAMPLE_S)


def _peaks_of(pids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield each process that still runs with its peak memory in bytes."""
    for pid in pids:
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
                yield pid, int(peak[1]) * KIB


def run_child(command: Sequence[str | Path], environment: Mapping[str, str], limit_s: float = 900) -> Child:
    """Run a program in the checkout to its end, with standard output in a pipe.

    The program is killed after `limit_s`. The kernel never counts the peak memory of a process below that of
    its parent at the fork, so the caller must stay smaller than the program.
    """
    with tempfile.TemporaryFile() as errors:
        began, first, last, pieces = time.perf_counter(), 0.0, 0.0, list[bytes]()
        child = subprocess.Popen(
            [str(word) for word in command],
            env=dict(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        limit = threading.Timer(limit_s, child.kill)
        limit.start()
        children = _ChildPeaks(child.pid)
        children.start()
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        with child.stdout as pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                last = time.perf_counter()
                first = first or last
                pieces.append(piece)
        _, status, usage = os.wait4(child.pid, 0)
        limit.cancel()
        children.join()
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        cpu_s, max_rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * KIB + children.total
        return Child(child.returncode, b"".join(pieces), errors.read(), wall_s, cpu_s, max_rss, last - first)


def exit_fault(children: Iterable[Child], code: int = 0) -> str:
    """Return an error text if a program did not exit with `code`, else an empty string."""
    for child in children:
        if child.code != code:
            return f"exit code {child.code} instead of {code}: {child.stderr.decode(errors='replace')[-300:]}"
    return ""


def difference(what: str, expected: object, values: Iterable[object]) -> str:
    """Return an error text if one of the values is not `expected`, else an empty string."""
    for number, value in enumerate(values, 1):
        if value != expected:
            return f"{what} {number} is not the peer's: {value!r:.120} instead of {expected!r:.120}"
    return ""


def text_fault(children: Sequence[Child]) -> str:
    """Return an error text if a process failed, or did not write the same text as the first."""
    return exit_fault(children) or difference("text", children[0].stdout, (c.stdout for c in children))


@dataclass(frozen=True, slots=True)
class Bench:
    """The settings of every row. `variables` are added to the environment of every process."""

    repeats: int
    model: Path
    scratch: Path
    threads: int
    patience_s: float = PATIENCE_S
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def untimed(self) -> "Bench":
        """The settings of a row that times nothing: no thread spins, which is slow on a busy machine."""
        return dataclasses.replace(self, variables={"OMP_WAIT_POLICY": "passive"}, patience_s=0)

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment with a separate home, in which the starter is the only model."""
        removed = ("OPENHERMES_", "OMP_", "GOMP_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
        home = {"OPENHERMES_HOME": str(self.scratch / "home"), "HF_HOME": str(self.scratch / "hub")}
        return {**kept, **home, **self.variables, **more}

    def call(self, function: Callable[..., Any] | str, **arguments: Any) -> Child:
        """Call a function in a child process, and return the process with the function's value.

        A function of a module that must not be imported here is given as MODULE:FUNCTION. Raises RuntimeError
        if the process fails.
        """
        name = function if isinstance(function, str) else f"{function.__module__}:{function.__name__}"
        file = self.scratch / "call.json"
        file.write_text(json.dumps(arguments), encoding="utf-8")
        command: list[str | Path] = [sys.executable, "-m", "benchmarks.call", name, file]
        child = run_child(command, self.environment())
        if wrong := exit_fault([child]):
            raise RuntimeError(f"{name}: {wrong}")
        return dataclasses.replace(child, value=json.loads(file.read_bytes()))

    def run_model(self, function: Callable[..., Any] | str, **arguments: Any) -> Child:
        """Call a function with the arguments `model`, by default the starter, and `threads`."""
        return self.call(function, **{"model": str(self.model), "threads": self.threads, **arguments})


def idle_share(window_s: float) -> float:
    times = psutil.cpu_times_percent(window_s)
    return (times.idle + times.iowait) / 100


def quiet_moment(patience_s: float, share: Callable[[float], float] = idle_share) -> dict[str, float]:
    """Wait until the CPUs are idle, but no longer than `patience_s`, and return the state of the machine."""
    began = time.monotonic()
    while True:
        idle = share(WINDOW_S)
        waited_s = time.monotonic() - began
        if idle >= IDLE_SHARE or waited_s >= patience_s:
            return {"waited_s": round(waited_s, 1), "idle": round(idle, 2), "load": os.getloadavg()[0]}


@dataclass(slots=True)
class Repeats(Generic[T]):
    """The results of each side in order, and the state of the machine at each repeat."""

    results: dict[str, list[T]]
    moments: list[dict[str, float]]

    def median(self, side: str, value: Callable[[T], float]) -> float:
        return statistics.median(map(value, self.results[side]))

    @property
    def all(self) -> list[T]:
        return [result for results in self.results.values() for result in results]

    def line(
        self,
        measure: str,
        unit: str,
        value: Callable[[T], float],
        sides: tuple[str, str] = ("hermes", "peer"),
        *,
        goal: Goal | None = None,
        wrong: str = "",
        **detail: Any,
    ) -> Line:
        """Return the line that compares the medians of two sides; its detail has every value."""
        hermes, peer = (self.median(side, value) for side in sides)
        detail |= {side: [value(result) for result in self.results[side]] for side in sides}
        return Line(measure, unit, hermes, peer, goal, wrong, {**detail, "moments": self.moments})


def interleave(
    sides: Mapping[str, Callable[[], T]], repeats: int, patience_s: float, *, warm_up: bool = True
) -> Repeats[T]:
    """Run A, B, A, B …, each at a quiet moment if possible, after one round that is not counted."""
    if warm_up:
        for side in sides.values():
            side()
    measured: Repeats[T] = Repeats({name: [] for name in sides}, [])
    for _ in range(repeats):
        for name, side in sides.items():
            measured.moments.append(quiet_moment(patience_s))
            measured.results[name].append(side())
    return measured
