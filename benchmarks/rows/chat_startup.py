"""chat-startup: the cost of `hermes chat` until it accepts the first key, while the model still loads.

Measured: CPU time of the process and of the children that it has waited for, and wall time, from its start on
a pty until the key, which was typed ahead, appears after the prompt. Peer: python with a prompt_toolkit
PromptSession. Gate: hermes' toolbar shows that the model is loading when the key appears.

chat-startup-server: the same with a model on a server, a fake of vLLM in this process.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import pexpect
import psutil
import pyte

from benchmarks.measure import PROGRAMS, Bench, interleave
from benchmarks.report import Goal, Line

GOAL = Goal("≤", 1.8)
SERVER_GOAL = Goal("≤", 1.5)
BARE_PROMPT = "from prompt_toolkit import PromptSession; PromptSession().prompt('> ')"
COLUMNS, ROWS = 80, 24
KEY = "x"
ACCEPTED = f"> {KEY}"
PATIENCE_S = 30.0
SOON_S = 0.5
"""The toolbar is drawn with the prompt: if it has not appeared by then, it did not show the loading."""


class FirstKey(NamedTuple):
    """The times of a program until it accepted a key, and whether it showed that a model was loading."""

    cpu_s: float
    wall_s: float
    while_loading: bool


def measure(bench: Bench) -> list[Line]:
    hermes = str(PROGRAMS / "hermes")
    commands = {"hermes": [hermes, "chat"], "peer": [sys.executable, "-c", BARE_PROMPT]}
    environment = bench.environment(TERM="xterm-256color")
    sides = {side: partial(first_key, command, environment) for side, command in commands.items()}
    runs = interleave(sides, bench.repeats, bench.patience_s)
    what, wrong = "until a key is accepted, beside a bare prompt_toolkit", gate(runs.results["hermes"])
    return [
        runs.line(f"CPU {what}", "ms", lambda one: one.cpu_s * 1000, goal=GOAL, wrong=wrong),
        runs.line(f"wall time {what}", "ms", lambda one: one.wall_s * 1000, wrong=wrong),
    ]


def measure_server(bench: Bench) -> list[Line]:
    from tests.engines.remote.fakes.vllm import FakeVLLM

    with FakeVLLM() as fake:
        hermes = [str(PROGRAMS / "hermes"), "chat", "-m", f"{fake.url}:{fake.model.name}"]
        commands = {"hermes": hermes, "peer": [sys.executable, "-c", BARE_PROMPT]}
        environment = bench.environment(TERM="xterm-256color")
        sides = {side: partial(first_key, command, environment) for side, command in commands.items()}
        runs = interleave(sides, bench.repeats, bench.patience_s)
        wrong = gate(runs.results["hermes"])
    what = "until a key is accepted, with a model on a server, beside a bare prompt_toolkit"
    return [
        runs.line(f"CPU {what}", "ms", lambda one: one.cpu_s * 1000, goal=SERVER_GOAL, wrong=wrong),
        runs.line(f"wall time {what}", "ms", lambda one: one.wall_s * 1000, wrong=wrong),
    ]


def gate(starts: Sequence[FirstKey]) -> str:
    """Return an error text if the model was loaded before the key was accepted."""
    late = [number for number, one in enumerate(starts, 1) if not one.while_loading]
    return f"start {late[0]} does not show that the model is loading" if late else ""


def first_key(command: Sequence[str], environment: dict[str, str]) -> FirstKey:
    """Start a program on a pty with a key typed ahead, and end it when it has accepted the key."""
    program, *words = command
    began = time.monotonic()
    child: Any = pexpect.spawn(program, words, env=environment, dimensions=(ROWS, COLUMNS))
    child.delaybeforesend = None
    screen = pyte.Screen(COLUMNS, ROWS)
    screen.write_process_input = child.send  # type: ignore[method-assign] # it answers cursor queries
    try:
        child.send(KEY)
        cpu_s = _read_until(child, screen, lambda rows: any(ACCEPTED in row for row in rows), PATIENCE_S)
        wall_s = time.monotonic() - began
        if cpu_s is None:
            raise RuntimeError(f"{program} never accepted the key; its screen: {screen.display}")
        # Output of the same moment may be in the next piece.
        return FirstKey(cpu_s, wall_s, _read_until(child, screen, _loading, SOON_S) is not None)
    finally:
        child.close(force=True)


def _loading(rows: list[str]) -> bool:
    """Return whether the rows under the prompt show it, which are the toolbar and not earlier output."""
    prompt = next((n for n, row in enumerate(rows) if ACCEPTED in row), len(rows))
    return any("loading" in row for row in rows[prompt + 1 :])


def _read_until(
    child: Any, screen: Any, condition: Callable[[list[str]], bool], limit_s: float
) -> float | None:
    """Read until the condition holds; return the child's CPU time then, or None if it never holds."""
    stream = pyte.ByteStream(screen)
    end, cpu_s = time.monotonic() + limit_s, processor_s(child.pid)
    while not condition(screen.display):
        if time.monotonic() > end:
            return None
        try:
            data = child.read_nonblocking(1 << 16, timeout=0.05)
        except pexpect.TIMEOUT:
            continue
        except pexpect.EOF:
            return None
        cpu_s = processor_s(child.pid)  # before the data is parsed: the child continues meanwhile
        stream.feed(data)
    return cpu_s


def processor_s(pid: int) -> float:
    """Return the seconds of CPU time of a process and of the children that it has waited for.

    The process's own time is read from its clock, with the id that clock_getcpuclockid(3) returns: psutil
    truncates it to ticks of 10 ms, twice.
    """
    times = psutil.Process(pid).cpu_times()
    return time.clock_gettime(~pid << 3 | 2) + times.children_user + times.children_system
