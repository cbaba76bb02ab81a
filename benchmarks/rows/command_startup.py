"""command-startup: the cost of a command that loads no model.

Measured: CPU time, user and system, of `hermes --version`, `hermes --help` and a usage error, each a process
started by its installed console script. Peers: an empty typer app with the same typer and settings, started
the same way, and `llm` if it is installed. Gate: the exit codes, and the beginning of hermes' output.
"""

import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import Bench, interleave
from benchmarks.process import Child, difference, exit_fault, run_child
from benchmarks.report import Goal, Line

GOALS = {"an empty typer app": Goal("≤", 1.2), "llm": Goal("≤", 1 / 8)}
CASES = {
    "--version": (["--version"], ["--version"], 0, b"hermes "),
    "--help": (["--help"], ["--help"], 0, b"Usage: hermes"),
    "usage error": (["ask", "--bogus"], ["prompt", "--bogus"], 2, b"Usage: hermes ask"),
}
"""By name: the arguments, those for llm, the exit code, and the beginning of hermes' output."""
SCRIPT = """#!{python}
import sys
from empty_app import main
if __name__ == "__main__":
    sys.exit(main())
"""


def measure(bench: Bench) -> list[Line]:
    """Return a line per case and peer."""
    empty = install_empty_app(bench.scratch)
    return [line for name in CASES for line in _case(bench, name, empty)]


def _case(bench: Bench, name: str, empty: Path) -> list[Line]:
    words, llm_words, code, _ = CASES[name]
    llm = bench.programs / "llm"
    commands = {"hermes": [bench.programs / "hermes", *words], "an empty typer app": [empty, *words]}
    if llm.exists():
        commands["llm"] = [llm, *llm_words]
    environment = bench.environment(LLM_USER_PATH=str(bench.scratch / "llm"))
    sides = {side: partial(run_child, command, environment) for side, command in commands.items()}
    runs = interleave(sides, bench.repeats, bench.patience_s)
    wrong = exit_fault(runs.all, code) or gate(name, runs.results["hermes"])
    return [
        runs.line(f"CPU of {name}, beside {peer}", "ms", cpu_ms, ("hermes", peer), goal=goal, wrong=wrong)
        for peer, goal in GOALS.items()
        if peer in sides
    ]


def cpu_ms(child: Child) -> float:
    """Return the CPU time of a process in milliseconds."""
    return child.cpu_s * 1000


def gate(name: str, children: list[Child]) -> str:
    """Return an error text if hermes' output is not the expected one."""
    *_, code, begin = CASES[name]
    texts = [child.stderr if code else child.stdout for child in children]
    return difference("output", begin, [text[: len(begin)] for text in texts])


def install_empty_app(folder: Path) -> Path:
    """Install the empty app as pip does: its module, and a script that imports it and calls main."""
    shutil.copy(Path(peers.__file__).with_name("empty_app.py"), folder)
    script = folder / "empty-app"
    script.write_text(SCRIPT.format(python=sys.executable), encoding="utf-8")
    script.chmod(0o755)
    return script
