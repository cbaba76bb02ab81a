"""Make each system call on the store's files fail, one at a time: `python -m torture.faults`.

The program runs a conversation line by line, while strace makes the nth call of a kind fail: for every kind
of call on the store's files, for every n until the fault no longer fires, and, for calls that write, also
with a disk that stays full from then on. This is done with a new home (`new`), and with one whose last writer
was killed in the middle of a write and whose conversation `chat -c` continues (`again`).

After each run all four answers must have been printed (or the start failed with an error message), and the
database must be undamaged. Everything acknowledged before the fault was reported, or everything if it was
not, is in the database exactly once. Exits 1 if one of these does not hold. Needs strace, and the right to
trace.
"""

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
from pathlib import Path

from torture import checks, child

ERRORS = ("ENOSPC", "EIO", "EMFILE", "ENOSPC+")
"""The last one stays: a disk that is full from then on."""
WRITES = ("openat", "pwrite64", "write", "fsync", "fdatasync", "ftruncate", "mkdir", "fcntl", "flock")
"""Calls that may keep failing on a full disk."""
FILES = {"": "folder", "/conversations.db": "database", "/conversations.db-journal": "journal"}
OTHER_FILES = (
    "/conversations.db-wal",
    "/conversations.db-shm",
    *("/claims", "/claims/1.lock", "/claims/2.lock"),
)
PATH = re.compile(r"<([^>]*)>|\"([^\"]*)\"")
CALL = re.compile(r"^\d+ +(\w+)\(")
INJECTED = "(INJECTED)"


class Stage:
    """A folder in which one conversation after another runs."""

    def __init__(self, folder: Path) -> None:
        self._home, self._log, self._output = folder / "home", folder / "trace", folder / "output"
        self._model = child.script(folder / "script.toml", checks.ANSWERS)
        self._template = folder / "template"
        self._make_template(child.script(folder / "earlier.toml", ["0: Earlier."]))

    @property
    def file(self) -> Path:
        return self._home / "data" / "conversations.db"

    def run(self, option: str, *, again: bool) -> tuple[str, list[str], str]:
        """Run the conversation under strace; return its outcome, the errors in it, and strace's log."""
        shutil.rmtree(self._home, ignore_errors=True)
        if again:
            shutil.copytree(self._template, self._home)
        words = ["chat", *["-c"] * again, "-m", self._model]
        number = child.start(words, self._home, self._output, checks.LINES, child.wait_until_traced)
        paths = [word for name in (*FILES, *OTHER_FILES) for word in ("-P", f"{self._home / 'data'}{name}")]
        command = ["strace", "-f", "-y", "-o", str(self._log), *paths, "-e", option, "-p", str(number)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
            ended = child.wait(number, self._output)
            tracer.wait(child.HANGS_S)
        outcome, wrong = checks.judge(ended, self.file, checks.EARLIER if again else set())
        wrong += [repr(ended.output)] if wrong else []
        return outcome, wrong, self._log.read_text(encoding="utf-8", errors="replace")

    def _make_template(self, model: str) -> None:
        """Make a home as if its last writer had been killed while a transaction was half written."""
        ended = child.run(["chat", "-m", model], self._home, self._output, b"earlier\n")
        if ended.code != 0:
            raise RuntimeError(ended.output)
        row = "INSERT INTO conversations (created, updated, opening) VALUES (0, 0, hex(zeroblob(2000)))"
        with closing(sqlite3.connect(self.file, isolation_level=None)) as raw:
            raw.execute("PRAGMA cache_size = 1")
            raw.execute("BEGIN")
            for _ in range(50):
                raw.execute(row)
            shutil.copytree(self._home, self._template)
        if (self._template / "data" / "conversations.db-journal").stat().st_size < 1000:  # noqa: PLR2004
            raise RuntimeError("there is no journal to roll back")


def faults(stage: Stage, call: str, *, again: bool) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield each fault of a call that fires: its name, the outcome, the errors, and the file that it hit."""
    for error in ERRORS if call in WRITES else ERRORS[:-1]:
        for number in itertools.count(1):
            name, stays, _ = error.partition("+")
            fault = f"{call}:error={name}:when={number}{stays}"
            outcome, wrong, log = stage.run(f"inject={fault}", again=again)
            if INJECTED not in log:
                break
            yield fault, outcome, wrong, _hit(log)


def _hit(log: str) -> str:
    line = next(line for line in log.splitlines() if INJECTED in line)
    paths = [path for pair in PATH.findall(line) for path in pair if "/data" in path]
    return FILES.get(paths[-1].partition("/data")[2], "claims") if paths else "?"


def main() -> int:
    if shutil.which("strace") is None:
        print("not measured: there is no strace here")
        return 0
    counts, bad = Counter[tuple[str, str]](), 0
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        for again in (False, True):
            outcome, wrong, log = stage.run("trace=all", again=again)
            if outcome != "harmless" or wrong:
                raise RuntimeError(f"without a fault: {outcome}, {wrong}")
            calls = {found[1] for line in log.splitlines() if (found := CALL.match(line))} - {"close_range"}
            for call in sorted(calls):
                for fault, outcome, wrong, hit in faults(stage, call, again=again):
                    counts[f"{call}, {hit}", outcome] += 1
                    bad += len(wrong)
                    if wrong:
                        print(f"{fault}, {again=}: {outcome}: {'; '.join(wrong)}", flush=True)
    print("| call, file |", " | ".join(checks.OUTCOMES), "|")
    print("|---|", "---|" * len(checks.OUTCOMES), sep="")
    for call in sorted({call for call, _ in counts}):
        print(f"| {call} |", " | ".join(str(counts[call, outcome]) for outcome in checks.OUTCOMES), "|")
    print(f"{counts.total()} faults fired, {bad} things wrong")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
