"""C8: what `hermes chat` costs until it takes the first key, while the model still loads.

Measured: processor time, user and system, of the process and of the children that it has waited for, from its
start on a pty of 80x24 until the key, which was typed ahead, stands behind the prompt. Beside: python with a
prompt_toolkit PromptSession, started and asked the same way. Gate: hermes' toolbar says that the model is
loading when the key is there.
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
"""The toolbar is drawn with the prompt: where it has not come by then, it said nothing of loading."""


@dataclass(frozen=True, slots=True)
class FirstKey:
    """A program that took a key: seconds of processor time and of the clock until then, and the screen.

    `while_loading` is whether it said that a model was loading.
    """

    cpu_s: float
    wall_s: float
    screen: str
    while_loading: bool


def measure(bench: Bench) -> list[Line]:
    """Return hermes beside the bare prompt."""
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
    """Return what is wrong where the model was there before the key."""
    for number, one in enumerate(given, 1):
        if not one.while_loading:
            return f"start {number} says nothing of loading when it takes the key: {one.screen[-300:]!r}"
    return ""


def first_key(command: Sequence[str | Path], environment: dict[str, str]) -> FirstKey:
    """Start a program on a pty with a key typed ahead, and end it once it has taken the key."""
    import pexpect  # noqa: PLC0415 - only this row needs it

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
        # What came in the same moment may be in the next piece.
        loading = screen.read_until(_says_loading, SOON_S) is not None
        return FirstKey(cpu_s, wall_s, screen.text, loading)
    finally:
        child.close(force=True)


def _says_loading(rows: list[str]) -> bool:
    """Whether the rows under the prompt say so: the toolbar, not what was said before."""
    prompt = next((n for n, row in enumerate(rows) if TAKEN in row), len(rows))
    return any(LOADING in row for row in rows[prompt + 1 :])


class _Screen:
    """What stands on the terminal of a child."""

    def __init__(self, child: Any) -> None:
        import pyte  # noqa: PLC0415 - only this row needs it

        self._child = child
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._screen.write_process_input = child.send  # type: ignore[method-assign] # it is asked where its cursor is

    @property
    def text(self) -> str:
        """The rows that hold something."""
        return "\n".join(row.rstrip() for row in self._screen.display).strip()

    def read_until(self, seen: Callable[[list[str]], bool], limit_s: float) -> float | None:
        """Read until something is seen; return the child's processor time when it came, or None."""
        import pexpect  # noqa: PLC0415

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
            cpu_s = processor_s(self._child.pid)  # before it is known what came: the child goes on meanwhile
            self._stream.feed(data)
        return cpu_s


def processor_s(pid: int) -> float:
    """Return the seconds that the kernel counts for a process and the children that it has waited for.

    The process's own come from its clock, which has the number that clock_getcpuclockid(3) gives: in
    /proc/PID/stat they are cut off to ticks of 10 ms, twice. The children's are only there.
    """
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return time.clock_gettime(~pid << 3 | 2) + sum(map(int, words[13:15])) / os.sysconf("SC_CLK_TCK")
