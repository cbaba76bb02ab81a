"""command-startup: CPU time of a command that loads no model, as a process of its installed console script.

Peers: an empty typer app with the same typer and settings, and `llm` if it is installed. Gate: the exit
codes, and the beginning of hermes' output.
"""

import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import PROGRAMS, Bench, Child, difference, exit_fault, interleave, run_child
from benchmarks.report import Goal, Line

GOALS = {"an empty typer app": Goal("≤", 1.2), "llm": Goal("≤", 1 / 8)}
CASES = {
    "--version": (["--version"], ["--version"], 0, b"hermes "),
    "--help": (["--help"], ["--help"], 0, b"Usage: hermes"),
    "usage error": (["ask", "--bogus"], ["prompt", "--bogus"], 2, b"Usage: hermes ask"),
}
"""By name: the arguments, those for llm, the exit code, and the beginning of hermes' output."""
EMPTY_APP = "from benchmarks.peers.empty_app import app; app()"


def measure(bench: Bench) -> list[Line]:
    return [line for name in CASES for line in _case(bench, name)]


def _case(bench: Bench, name: str) -> list[Line]:
    words, llm_words, code, _ = CASES[name]
    commands: dict[str, list[str | Path]] = {
        "hermes": [PROGRAMS / "hermes", *words],
        "an empty typer app": [sys.executable, "-c", EMPTY_APP, *words],
        "llm": [PROGRAMS / "llm", *llm_words],
    }
    if not (PROGRAMS / "llm").exists():
        del commands["llm"]
    environment = bench.environment(LLM_USER_PATH=str(bench.scratch / "llm"))
    sides = {side: partial(run_child, command, environment) for side, command in commands.items()}
    runs = interleave(sides, bench.repeats, bench.patience_s)
    wrong = exit_fault(runs.all, code) or gate(name, runs.results["hermes"])
    return [
        runs.line(f"CPU of {name}, beside {peer}", "ms", _cpu_ms, ("hermes", peer), goal=goal, wrong=wrong)
        for peer, goal in GOALS.items()
        if peer in sides
    ]


def _cpu_ms(child: Child) -> float:
    return child.cpu_s * 1000


def gate(name: str, children: list[Child]) -> str:
    *_, code, begin = CASES[name]
    texts = [child.stderr if code else child.stdout for child in children]
    return difference("output", begin, [text[: len(begin)] for text in texts])
