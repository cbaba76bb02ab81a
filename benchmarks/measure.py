"""Measuring: alternating repeats, waiting for a quiet machine, medians, and the kernel's accounting."""

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
IDLE_WANTED = 0.93
"""Share of CPU time that must be idle before a repeat begins."""
QUIET_WINDOW_S = 0.3
QUIET_PATIENCE_S = 20.0
"""How long a repeat waits for a quiet machine; then it runs anyway, which is recorded."""
KIB = 1024
HEAD = 120


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for a row's ratio."""

    limit: float
    at_least: bool

    def met(self, ratio: float) -> bool:
        """Return whether the ratio is within the limit."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:.3g}x"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. `ratio` is hermes over peer.

    `wrong` is the reason why the result is invalid, `skipped` the reason why there is none.
    """

    row: str
    measure: str
    unit: str
    hermes: float
    peer: float
    goal: Goal | None = None
    wrong: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""

    @property
    def ratio(self) -> float:
        """Hermes over peer."""
        return self.hermes / self.peer if self.peer else float("nan")

    @property
    def verdict(self) -> str:
        """FAILED if the gate did not pass, else whether the goal is met."""
        if self.skipped:
            return "not measured"
        if self.wrong:
            return "FAILED"
        if self.goal is None:
            return "-"
        return "yes" if self.goal.met(self.ratio) else "no"


def not_measured(row: str, measure: str, words: str) -> Line:
    """Return the line of a row that cannot be measured here, with the reason."""
    return Line(row, measure, "", 0, 0, skipped=words)


@dataclass(frozen=True, slots=True)
class Bench:
    """The settings of every row: repeats, model, folders to write to, threads, and seconds to wait."""

    repeats: int
    model: Path
    home: Path
    scratch: Path
    programs: Path
    threads: int
    patience_s: float = QUIET_PATIENCE_S

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment with a separate home, in which the starter is the only model."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENHERMES_", "OMP_", "GOMP_"))
        }
        return {**kept, "OPENHERMES_HOME": str(self.home), "HF_HOME": str(self.scratch / "hub"), **more}


@dataclass(frozen=True, slots=True)
class Child:
    """A process that has ended. Times are in seconds, `cpu_s` is user and system time, `max_rss` is in bytes.

    `text_s` is the time from the first piece of standard output to the last.
    """

    code: int
    stdout: bytes
    stderr: bytes
    wall_s: float
    cpu_s: float
    max_rss: int
    text_s: float


def run_child(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    limit_s: float = 900,
) -> Child:
    """Run a program in `folder` to its end, with standard output in a pipe, and return the kernel's counts.

    The program is killed after `limit_s`. The kernel never counts the peak memory of a process below that of
    its parent at the fork, so the caller must stay smaller than the measured program.
    """
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        child = subprocess.Popen(
            [str(argument) for argument in arguments],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        limit = threading.Timer(limit_s, child.kill)
        limit.start()
        try:
            stdout, text_s = _read(child)
            _, status, usage = os.wait4(child.pid, 0)
        finally:
            limit.cancel()
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        cpu_s, max_rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * KIB
        return Child(child.returncode, stdout, errors.read(), wall_s, cpu_s, max_rss, text_s)


def _read(child: subprocess.Popen[bytes]) -> tuple[bytes, float]:
    """Return standard output and the seconds between its first piece and its last."""
    if child.stdout is None:
        return b"", 0.0
    pieces: list[bytes] = []
    first = last = 0.0
    with child.stdout as pipe:
        while piece := os.read(pipe.fileno(), 1 << 16):
            last = time.perf_counter()
            first = first or last
            pieces.append(piece)
    return b"".join(pieces), last - first


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of the machine when a repeat began: seconds waited, share of idle time, load average."""

    waited_s: float
    idle: float
    load: float


def _processor_times(stat: Path = Path("/proc/stat")) -> tuple[int, int]:
    """Return idle and total CPU time in ticks, or zeros if the system does not report them."""
    try:
        times = [int(word) for word in stat.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0, 0
    return times[3] + times[4], sum(times)


def _idle_share(window_s: float) -> float:
    before = _processor_times()
    time.sleep(window_s)
    after = _processor_times()
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total else 1.0


def quiet_moment(
    patience_s: float = QUIET_PATIENCE_S, idle_share: Callable[[float], float] = _idle_share
) -> Moment:
    """Wait until the CPUs are idle, but no longer than `patience_s`, and return the state of the machine.

    `idle_share` waits for the given number of seconds and returns the share of them that was idle.
    """
    began = time.monotonic()
    while True:
        idle = idle_share(QUIET_WINDOW_S)
        waited = time.monotonic() - began
        if idle >= IDLE_WANTED or waited >= patience_s:
            return Moment(round(waited, 1), round(idle, 2), round(os.getloadavg()[0], 2))


@dataclass(slots=True)
class Turns(Generic[T]):
    """The results of each side in order, and the state of the machine at each repeat."""

    results: dict[str, list[T]]
    moments: list[Moment]

    def median(self, side: str, value: Callable[[T], float]) -> float:
        """Return the median value of one side."""
        return statistics.median(map(value, self.results[side]))

    def record(self, value: Callable[[T], float]) -> dict[str, Any]:
        """Return every value and every moment, for the JSON file."""
        given = {
            side: [round(value(result), 6) for result in results] for side, results in self.results.items()
        }
        return {**given, "moments": [asdict(moment) for moment in self.moments]}


def turns_about(
    sides: Mapping[str, Callable[[], T]],
    repeats: int,
    *,
    warm_up: bool = True,
    patience_s: float = QUIET_PATIENCE_S,
) -> Turns[T]:
    """Run A, B, A, B …, each at a quiet moment if possible, after one warm-up round that is not counted."""
    if warm_up:
        for side in sides.values():
            side()
    turns: Turns[T] = Turns({name: [] for name in sides}, [])
    for _ in range(repeats):
        for name, side in sides.items():
            turns.moments.append(quiet_moment(patience_s))
            turns.results[name].append(side())
    return turns


def same(what: str, expected: object, given: Iterable[object]) -> str:
    """Return an error text if one of `given` is not `expected`, else an empty string."""
    for index, value in enumerate(given):
        if value != expected:
            return f"{what} {index + 1} is not the peer's: {_head(value)} instead of {_head(expected)}"
    return ""


def _head(value: object) -> str:
    text = repr(value)
    return text if len(text) <= HEAD else f"{text[:HEAD]}…"


def ended_well(children: Iterable[Child], code: int = 0) -> str:
    """Return an error text if a program did not exit with `code`, else an empty string."""
    for child in children:
        if child.code != code:
            return f"exit code {child.code} instead of {code}: {child.stderr.decode(errors='replace')[-300:]}"
    return ""
