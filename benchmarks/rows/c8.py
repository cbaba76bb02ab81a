"""C8: the cost of `hermes chat` until it accepts the first key, while the model still loads.

Measured: CPU time, user and system, of the process and of the children that it has waited for, from its start
on a pty of 80x24 until the key, which was typed ahead, appears after the prompt. Peer: python with a
prompt_toolkit PromptSession, started and measured the same way. Gate: hermes' toolbar shows that the model is
loading when the key appears.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Goal, Line, turns_about
from benchmarks.rows.c1 import PEERS

GOAL = Goal(2, at_least=False)
COLUMNS, ROWS = 80, 24
KEY = "x"
TAKEN = f"> {KEY}"
LOADING = "loading"
PATIENCE_S = 30.0
SOON_S = 0.5
"""The toolbar is drawn with the prompt: if it has not appeared by then, it did not show the loading."""


@dataclass(frozen=True, slots=True)
class FirstKey:
    """A program that accepted a key: seconds of CPU time and of wall time until then, and the screen.

    `while_loading` is whether it showed that a model was loading.
    """

    cpu_s: float
    wall_s: float
    screen: str
    while_loading: bool


def measure(bench: Bench) -> list[Line]:
    """Measure the row and return the line of hermes beside the bare prompt."""
    environment = bench.environment(TERM="xterm-256color")
    sides = {
        "hermes": partial(first_key, [bench.programs / "hermes", "chat"], environment),
        "peer": partial(first_key, [sys.executable, PEERS / "prompt.py"], environment),
    }
    turns = turns_about(sides, bench.repeats, patience_s=bench.patience_s)

    def cpu_ms(one: FirstKey) -> float:
        return one.cpu_s * 1000

    wrong = gate(turns.results["hermes"])
    detail = {**turns.record(cpu_ms), "wall ms": turns.record(lambda one: one.wall_s * 1000)}
    what = "CPU of hermes chat until it takes a key, beside a bare prompt_toolkit"
    hermes, peer = (turns.median(side, cpu_ms) for side in sides)
    return [Line("C8", what, "ms", hermes, peer, GOAL, wrong, detail)]


def gate(given: Sequence[FirstKey]) -> str:
    """Return an error text if the model was loaded before the key was accepted."""
    for number, one in enumerate(given, 1):
        if not one.while_loading:
            return f"start {number} says nothing of loading when it takes the key: {one.screen[-300:]!r}"
    return ""


def first_key(command: Sequence[str | Path], environment: dict[str, str]) -> FirstKey:
    """Start a program on a pty with a key typed ahead, and end it when it has accepted the key."""
    import pexpect

    words = [str(word) for word in command]
    began = time.monotonic()
    child: Any = pexpect.spawn(words[0], words[1:], env=environment, dimensions=(ROWS, COLUMNS))
    try:
        child.delaybeforesend = None
        child.send(KEY)
        screen = _Screen(child)
        cpu_s = screen.read_until(lambda rows: any(TAKEN in row for row in rows), PATIENCE_S)
        wall_s = time.monotonic() - began
        if cpu_s is None:
            raise RuntimeError(f"{words[0]} never took the key; its screen: {screen.text[-300:]!r}")
        # Output of the same moment may be in the next piece.
        loading = screen.read_until(_says_loading, SOON_S) is not None
        return FirstKey(cpu_s, wall_s, screen.text, loading)
    finally:
        child.close(force=True)


def _says_loading(rows: list[str]) -> bool:
    """Return whether the rows under the prompt show it, which are the toolbar and not earlier output."""
    prompt = next((n for n, row in enumerate(rows) if TAKEN in row), len(rows))
    return any(LOADING in row for row in rows[prompt + 1 :])


class _Screen:
    """The screen of a child's terminal."""

    def __init__(self, child: Any) -> None:
        import pyte

        self._child = child
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._screen.write_process_input = child.send  # type: ignore[method-assign] # it answers cursor queries

    @property
    def text(self) -> str:
        """The text of the screen, without blank rows at its ends."""
        return "\n".join(row.rstrip() for row in self._screen.display).strip()

    def read_until(self, seen: Callable[[list[str]], bool], limit_s: float) -> float | None:
        """Read until `seen` returns True; return the child's CPU time then, or None if it never does."""
        import pexpect

        end, cpu_s = time.monotonic() + limit_s, processor_s(self._child.pid)
        while not seen(self._screen.display):
            if time.monotonic() > end:
                return None
            try:
                data = self._child.read_nonblocking(1 << 16, timeout=0.05)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                return None
            cpu_s = processor_s(self._child.pid)  # before the data is parsed: the child continues meanwhile
            self._stream.feed(data)
        return cpu_s


def processor_s(pid: int) -> float:
    """Return the seconds of CPU time of a process and of the children that it has waited for.

    The process's own time is read from its clock, with the id that clock_getcpuclockid(3) returns: in
    /proc/PID/stat it is truncated to ticks of 10 ms, twice. The children's time is only in that file.
    """
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return time.clock_gettime(~pid << 3 | 2) + sum(map(int, words[13:15])) / os.sysconf("SC_CLK_TCK")
