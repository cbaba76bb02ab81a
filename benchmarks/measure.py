"""Measuring: a separate home, interleaved repeats, waiting for a quiet machine, and medians."""

import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.process import Child, exit_fault, run_child
from benchmarks.report import Goal, Line

T = TypeVar("T")
IDLE_SHARE = 0.93
"""Share of CPU time that must be idle before a repeat begins."""
WINDOW_S = 0.3
PATIENCE_S = 20.0
"""How long a repeat waits for a quiet machine; then it runs anyway, which is recorded."""
SHORT_PATIENCE_S = 6.0
STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Bench:
    """The settings of every row: repeats, model, folders to write to, threads, and seconds to wait.

    `variables` are added to the environment of every process.
    """

    repeats: int
    model: Path
    home: Path
    scratch: Path
    programs: Path
    threads: int
    patience_s: float = PATIENCE_S
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def short_patience_s(self) -> float:
        """The seconds to wait in a row with many sides, which would otherwise add up to an hour."""
        return min(SHORT_PATIENCE_S, self.patience_s)

    @property
    def untimed(self) -> "Bench":
        """The settings of a row that times nothing: no thread spins, which takes minutes on a busy machine."""
        return dataclasses.replace(self, variables={"OMP_WAIT_POLICY": "passive"}, patience_s=0)

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment with a separate home, in which the starter is the only model."""
        removed = ("OPENHERMES_", "OMP_", "GOMP_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
        home = {"OPENHERMES_HOME": str(self.home), "HF_HOME": str(self.scratch / "hub")}
        return {**kept, **home, **self.variables, **more}

    def call(self, function: Callable[..., Any] | str, **arguments: Any) -> Child:
        """Call a function in a child process, and return the process with the function's value.

        A function of a module that must not be imported here is given as MODULE:FUNCTION. Raises RuntimeError
        if the process fails.
        """
        name = function if isinstance(function, str) else f"{function.__module__}:{function.__name__}"
        with tempfile.TemporaryFile() as result:
            command = [sys.executable, "-m", "benchmarks.call", name, str(result.fileno())]
            given, descriptors = json.dumps(arguments).encode(), (result.fileno(),)
            child = run_child(command, self.environment(), stdin=given, descriptors=descriptors)
            if wrong := exit_fault([child]):
                raise RuntimeError(f"{name}: {wrong}")
            result.seek(0)
            return dataclasses.replace(child, value=json.load(result))


def idle_share(window_s: float) -> float:
    """Wait, and return the share of CPU time that was idle; 1 if the system does not report it."""
    before = _ticks()
    time.sleep(window_s)
    idle, total = (after - first for after, first in zip(_ticks(), before, strict=True))
    return idle / total if total else 1.0


def _ticks() -> tuple[int, int]:
    """Return the idle and the total CPU time."""
    if not STAT.exists():
        return 0, 0
    times = [int(word) for word in STAT.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return times[3] + times[4], sum(times)


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
        """Return the median value of one side."""
        return statistics.median(map(value, self.results[side]))

    @property
    def all(self) -> list[T]:
        """The results of all sides."""
        return [result for results in self.results.values() for result in results]

    def record(self, value: Callable[[T], float], *sides: str) -> dict[str, Any]:
        """Return every value of the sides, and every moment."""
        values = {side: [round(value(result), 6) for result in self.results[side]] for side in sides}
        return {**values, "moments": self.moments}

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
        return Line(measure, unit, hermes, peer, goal, wrong, {**self.record(value, *sides), **detail})


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
