"""Child processes: their output, and the kernel's counts of their time and memory."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KIB = 1024
MIB = 1 << 20
SHOWN = 120
"""Characters of a value that an error text shows."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that has ended. Times are in seconds, `cpu_s` is user and system time, `max_rss` is in bytes.

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


def run_child(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    stdin: bytes = b"",
    descriptors: Collection[int] = (),
    limit_s: float = 900,
) -> Child:
    """Run a program in the checkout to its end, with standard output in a pipe.

    The program inherits `descriptors` and is killed after `limit_s`. The kernel never counts the peak memory
    of a process below that of its parent at the fork, so the caller must stay smaller than the program.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        began = time.perf_counter()
        child = subprocess.Popen(
            [str(word) for word in command],
            env=dict(environment),
            cwd=ROOT,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=descriptors,
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
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    pieces: list[bytes] = []
    first = last = 0.0
    with child.stdout as pipe:
        while piece := os.read(pipe.fileno(), 1 << 16):
            last = time.perf_counter()
            first = first or last
            pieces.append(piece)
    return b"".join(pieces), last - first


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
            return f"{what} {number} is not the peer's: {_head(value)} instead of {_head(expected)}"
    return ""


def _head(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def text_fault(children: Sequence[Child]) -> str:
    """Return an error text if a process failed, or did not write the same text as the first."""
    return exit_fault(children) or difference("text", children[0].stdout, (c.stdout for c in children))
