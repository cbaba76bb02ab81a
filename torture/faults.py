"""Make each system call on the store's files fail, one at a time: `python -m torture.faults`.

The program runs a conversation line by line, with four answers of a script, while strace makes the nth call
of a kind fail with ENOSPC, EIO or EMFILE: for every kind of call that touches the store's files, for every n
until the fault no longer fires, and, for calls that write, also with a disk that stays full from then on.
This is done with a new home (`new`), and with one whose last writer was killed in the middle of a write and
whose conversation `chat -c` continues (`again`).

After each run all four answers must have been printed (or the start failed with an error message), and the
database must open and be undamaged. If the fault was reported, everything acknowledged before is in the
database exactly once. If it was not reported, it did no harm: everything is there exactly once. Exits 1 if
one of these does not hold. Needs strace, and the right to trace.
"""

import argparse
import itertools
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from torture import child, conversation

ERRORS = ("ENOSPC", "EIO", "EMFILE")
WRITES = ("openat", "pwrite64", "write", "fsync", "fdatasync", "ftruncate", "mkdir", "fcntl", "flock")
"""Calls that may keep failing on a full disk."""
PATHS = (
    "",
    "/conversations.db",
    "/conversations.db-journal",
    "/conversations.db-wal",
    "/conversations.db-shm",
)
CLAIMS = ("/claims", "/claims/1.lock", "/claims/2.lock")
PATH = re.compile(r"<([^>]*)>|\"([^\"]*)\"")
FILES = {"": "folder", "/conversations.db": "database", "/conversations.db-journal": "journal"}
CALL = re.compile(r"^\d+ +(\w+)\(")


@dataclass(frozen=True, slots=True)
class Fault:
    """The `number`th `call` fails with `error`, and, if it `stays`, each one after it."""

    home: str
    call: str
    error: str
    number: int
    stays: bool

    @property
    def option(self) -> str:
        """The fault as an option of strace."""
        return f"inject={self.call}:error={self.error}:when={self.number}{'+' if self.stays else ''}"

    def __str__(self) -> str:
        when = "from then on" if self.stays else "once"
        return f"{self.home}: {self.call} {self.number} {self.error} {when}"


@dataclass(slots=True)
class Tally:
    """The outcomes of the faults."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Stage:
    """A folder in which one conversation after another runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home, self._log, self._said = folder / "home", folder / "trace", folder / "said"
        self._model = child.script(folder / "script.toml", conversation.ANSWERS)
        self._template = folder / "template"
        self._make_template()

    @property
    def file(self) -> Path:
        """The database."""
        return self._home / "data" / "conversations.db"

    def run(self, home: str, option: str) -> tuple[child.Ended, str]:
        """Run the conversation under strace, and return how it ended and strace's log."""
        for path in (self._home, self._log, self._said):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if home == "again":
            shutil.copytree(self._template, self._home)
        words = ["chat", *(["-c"] if home == "again" else []), "-m", self._model]
        number = child.hermes(words, self._home, self._said, conversation.LINES, child.wait_until_traced)
        data = self._home / "data"
        paths = [word for name in PATHS + CLAIMS for word in ("-P", f"{data}{name}")]
        command = ["strace", "-f", "-y", "-o", str(self._log), *paths, "-e", option, "-p", str(number)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
            code = child.wait(number)
            tracer.wait(child.HANGS_S)
        said = self._said.read_text(encoding="utf-8", errors="replace")
        return child.Ended(code, said), self._log.read_text(encoding="utf-8", errors="replace")

    def _make_template(self) -> None:
        """Make a home as if its last writer had been killed while a transaction was half written."""
        model = child.script(self._folder / "earlier.toml", ["0: Earlier."])
        number = child.hermes(["chat", "-m", model], self._home, self._said, b"earlier\n")
        if child.wait(number) != 0:
            raise RuntimeError(self._said.read_text(encoding="utf-8"))
        with closing(sqlite3.connect(self.file, isolation_level=None)) as raw:
            raw.execute("PRAGMA cache_size = 1")
            raw.execute("BEGIN")
            for _ in range(50):
                raw.execute(
                    "INSERT INTO conversations (created, updated, opening) VALUES (0, 0, hex(zeroblob(2000)))"
                )
            shutil.copytree(self._home, self._template)
        if (self._template / "data" / "conversations.db-journal").stat().st_size < 1000:  # noqa: PLR2004
            raise RuntimeError("there is no journal to roll back")


def calls_of(log: str) -> list[str]:
    """Return the kinds of system calls in a log of strace."""
    return sorted({found[1] for line in log.splitlines() if (found := CALL.match(line))} - {"close_range"})


def faults(stage: Stage, home: str, call: str) -> Iterator[tuple[Fault, child.Ended, str]]:
    """Yield each fault of a call that fires, with the end of the conversation and the file that was hit."""
    kinds = [(error, False) for error in ERRORS] + [("ENOSPC", True)] * (call in WRITES)
    for error, stays in kinds:
        for number in itertools.count(1):
            fault = Fault(home, call, error, number, stays)
            ended, log = stage.run(home, fault.option)
            if "(INJECTED)" not in log:
                break
            yield fault, ended, _hit(log)


def _hit(log: str) -> str:
    """Return a word for the file that the fault in a log of strace hit."""
    line = next(line for line in log.splitlines() if "(INJECTED)" in line)
    paths = [path for pair in PATH.findall(line) for path in pair if "/data" in path]
    return FILES.get(paths[-1].partition("/data")[2], "claims") if paths else "?"


def judge(fault: Fault, ended: child.Ended, file: Path) -> tuple[str, list[str]]:
    """Return the outcome of a fault, and the errors in it."""
    return conversation.judge(ended, file, conversation.EARLIER if fault.home == "again" else set())


def main() -> int:
    """Inject every fault, print a table of the outcomes, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m torture.faults", description=__doc__)
    parser.add_argument(
        "calls", nargs="*", help="kinds of calls; none means all that touch the store's files"
    )
    parser.add_argument("--home", choices=("new", "again"), action="append")
    wanted = parser.parse_args()
    if shutil.which("strace") is None:
        print("not measured: there is no strace here")
        return 0
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        for home in wanted.home or ("new", "again"):
            quiet, log = stage.run(home, "trace=all")
            outcome, wrong = judge(Fault(home, "", "", 0, stays=False), quiet, stage.file)
            if outcome != "harmless" or wrong:
                raise RuntimeError(f"without a fault: {outcome}, {wrong}, {quiet}")
            for call in calls_of(log):
                if not wanted.calls or call in wanted.calls:
                    _all_of(stage, home, call, tally)
    return _report(tally)


def _all_of(stage: Stage, home: str, call: str, tally: Tally) -> None:
    for fault, ended, hit in faults(stage, home, call):
        outcome, wrong = judge(fault, ended, stage.file)
        tally.counts[f"{fault.call}, {hit}", outcome] += 1
        tally.wrong += wrong
        if wrong:
            print(f"{fault}: {outcome}: {'; '.join(wrong)}\n    {ended.said!r}", flush=True)


def _report(tally: Tally) -> int:
    outcomes = conversation.OUTCOMES
    print("| call, file |", " | ".join(outcomes), "|")
    print("|---|", "---|" * len(outcomes), sep="")
    for call in sorted({call for call, _ in tally.counts}):
        print(f"| {call} |", " | ".join(str(tally.counts[call, one]) for one in outcomes), "|")
    sums = {one: sum(n for (_, kind), n in tally.counts.items() if kind == one) for one in outcomes}
    print(f"{sum(sums.values())} faults fired:", ", ".join(f"{n} {one}" for one, n in sums.items()))
    print(f"{len(tally.wrong)} things wrong")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
