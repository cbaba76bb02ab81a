"""Kill a writing process at random moments: `python -m torture.kill [RUNS] [--seed N]`.

Each run starts a process that keeps conversations as a chat does (a turn, a reply that grows, its end) and
writes a line for every write that the store has acknowledged. It is killed with SIGKILL after a random time.
Then the database must open, pass SQLite's own check, and hold every turn that was acknowledged, once. The
database stays over all runs. Exits 1 where anything was lost.
"""

import argparse
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Role
from hermes_cli.store.records import Made, State
from hermes_cli.store.store import Store

LONGEST_S = 0.3
RUNS = 1000


def write(file: Path) -> None:
    """Keep exchanges for ever, and tell each write once it is acknowledged."""
    store = Store(file)
    number = store.begin([Message(Role.SYSTEM, "system")], "torture")
    parent = None
    print("ready", flush=True)
    for turn in range(10**9):
        parent = store.add(number, parent, Message(Role.USER, f"question {turn}"))
        print(parent, "question", turn, flush=True)
        reply = store.add(number, parent, Message(Role.ASSISTANT, "beg"), State.PARTIAL)
        print(reply, "beg", flush=True)
        store.grow(reply, "begin")
        store.end(reply, f"answer {turn}", State.COMPLETE, Made("m"))
        print(reply, "answer", turn, flush=True)
        parent = reply


def one_run(file: Path, moment_s: float) -> dict[int, str]:
    """Start a writer, kill it after `moment_s` seconds of writing, and return what it was told is kept."""
    command = [sys.executable, "-m", "torture.kill", "--write", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        if child.stdout is None or child.stdout.readline() != "ready\n":
            raise RuntimeError("the writer did not begin")
        time.sleep(moment_s)
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().splitlines()
    parts = (line.partition(" ") for line in lines)
    return {int(number): text for number, _, text in parts}


def lost(file: Path, told: dict[int, str]) -> list[str]:
    """Return the acknowledged turns that a fresh look at the database does not find as they were."""
    store = Store(file)
    missing = []
    for number, text in told.items():
        found = store.message(number)
        fits = found is not None and (
            found.text == text or (text == "beg" and found.text in ("begin", "beg"))
        )
        # A later write may have been made and its word not have come through.
        if not fits and not (text == "beg" and found is not None and found.text.startswith("answer")):
            missing.append(f"{number} {text!r}: {found and found.text!r}")
    store.close()
    return missing


def main() -> int:
    """Run, and say what was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.write:
        write(wanted.write)
    chance = random.Random(wanted.seed)  # noqa: S311 - moments, not secrets
    acknowledged = gone = closed = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conversations.db"
        for _ in range(wanted.runs):
            told = one_run(file, chance.uniform(0, LONGEST_S))
            acknowledged += len(told)
            try:
                missing = lost(file, told)
                with sqlite3.connect(file) as raw:
                    (verdict,) = raw.execute("PRAGMA quick_check").fetchone()
            except (StoreError, sqlite3.Error) as error:
                missing, verdict = [], str(error)
            closed += verdict != "ok"
            gone += len(missing)
            for one in missing:
                print("lost:", one)
    print(f"{wanted.runs} runs, {acknowledged} acknowledged writes: {gone} lost, {closed} damaged databases")
    return int(bool(gone or closed))


if __name__ == "__main__":
    sys.exit(main())
