"""C7: the cost of a command that loads no model.

Measured: CPU time, user and system, of `hermes --version`, `hermes --help` and a usage error, each a process
started by its installed console script. Peers: an empty typer app with the same typer and settings, started
the same way, and `llm`. Gate: the exit codes, and hermes' version and first line of help.
"""

import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import Bench, Child, Goal, Line, Turns, ended_well, run_child, same, turns_about

Command = list[Path | str]
OVER_EMPTY = Goal(1.3, at_least=False)
OVER_LLM = Goal(1 / 6, at_least=False)
CASES = {
    "--version": ("--version",),
    "--help": ("--help",),
    "usage error": ("ask", "--bogus"),
}
LLM_USAGE_ERROR = ("prompt", "--bogus")
USAGE = 2
SCRIPT = """#!{python}
import sys
from empty_app import main
if __name__ == "__main__":
    sys.exit(main())
"""


def measure(bench: Bench) -> list[Line]:
    """Measure the row; return two lines per case: beside the empty app, and beside llm if it is installed."""
    empty, llm = empty_app(bench.scratch), bench.programs / "llm"
    lines: list[Line] = []
    for name, words in CASES.items():
        theirs = LLM_USAGE_ERROR if name == "usage error" else words
        commands: dict[str, Command] = {
            "hermes": [bench.programs / "hermes", *words],
            "empty app": [empty, *words],
        }
        if llm.exists():
            commands["llm"] = [llm, *theirs]
        lines += _case(bench, name, commands)
    return lines


def _case(bench: Bench, name: str, commands: dict[str, Command]) -> list[Line]:
    environment = bench.environment(LLM_USER_PATH=str(bench.scratch / "llm"))

    sides = {who: partial(run_child, command, environment) for who, command in commands.items()}
    turns = turns_about(sides, bench.repeats, patience_s=bench.patience_s)
    code = USAGE if name == "usage error" else 0
    wrong = ended_well((child for given in turns.results.values() for child in given), code)
    wrong = wrong or gate(name, turns.results["hermes"])
    return [
        _line(name, turns, peer, goal, wrong)
        for peer, goal in (("empty app", OVER_EMPTY), ("llm", OVER_LLM))
        if peer in commands
    ]


def _line(name: str, turns: Turns[Child], peer: str, goal: Goal, wrong: str) -> Line:
    def cpu_ms(child: Child) -> float:
        return child.cpu_s * 1000

    what = f"CPU of {name}, beside {'an empty typer app' if peer == 'empty app' else peer}"
    hermes, theirs = turns.median("hermes", cpu_ms), turns.median(peer, cpu_ms)
    return Line("C7", what, "ms", hermes, theirs, goal, wrong, turns.record(cpu_ms))


def gate(name: str, children: list[Child]) -> str:
    """Return an error text if hermes' output is not the expected one."""
    begins = {"--version": b"hermes ", "--help": b"Usage: hermes", "usage error": b"Usage: hermes ask"}[name]
    said = [child.stderr if name == "usage error" else child.stdout for child in children]
    return same("answer", begins, [text[: len(begins)] for text in said])


def empty_app(folder: Path) -> Path:
    """Install the empty app as pip does: its module, and a script that imports it and calls main."""
    shutil.copy(Path(peers.__file__).with_name("empty_app.py"), folder)
    script = folder / "empty-app"
    script.write_text(SCRIPT.format(python=sys.executable), encoding="utf-8")
    script.chmod(0o755)
    return script
