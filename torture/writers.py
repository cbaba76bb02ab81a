"""Make three programs write to one database at once: `python -m torture.writers [TURNS]`.

There are two chats of TURNS turns each, line by line, and a script that runs `ask --log` repeatedly while
they run. This is done with both of SQLite's journals that hermes uses (SQLite's version decides which one).
Every turn must be in the database once, in its own conversation, in order, and the database must be
undamaged. Exits 1 if one of these does not hold.
"""

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hermes_cli.store import database
from hermes_cli.store.store import Store
from torture import child, look

TURNS = 1000
NAMES = ("ada", "bob")
CHOICES = {"rollback journal": (99, 0, 0), "write-ahead log": (0, 0, 0)}
"""By journal, the first version of SQLite whose write-ahead log is treated as safe."""


@dataclass(slots=True)
class Result:
    """The result of a run with one journal."""

    journal: str
    turns: int
    asks: int
    seconds: float
    wrong: list[str]


def one_journal(place: Path, journal: str, turns: int) -> Result:
    """Run the three writers, and check the database."""

    def choose() -> None:
        vars(database)["WAL_IS_SAFE"] = CHOICES[journal]

    began = time.monotonic()
    home, wrong, asks = place / "home", list[str](), 0
    waiting = {_chat(place, home, name, turns, choose): name for name in NAMES}
    while waiting:
        wrong += _ask(place, home, asks, choose)
        asks += 1
        for process in list(waiting):
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                name = waiting.pop(process)
                wrong += _as_expected(place / name, os.waitstatus_to_exitcode(status), _answers(name, turns))
    seconds = time.monotonic() - began
    file = home / "data" / "conversations.db"
    with closing(sqlite3.connect(file)) as raw:
        mode = raw.execute("PRAGMA journal_mode").fetchone()[0]
    wrong += [] if (mode == "wal") == (journal == "write-ahead log") else [f"the journal is {mode}"]
    wrong += look.damage(file) + _misplaced(file, turns, asks)
    return Result(journal, turns * len(NAMES), asks, seconds, wrong)


def _chat(place: Path, home: Path, name: str, turns: int, choose: Callable[[], None]) -> int:
    model = child.script(place / f"{name}.toml", _answers(name, turns), 10**7)
    lines = "".join(f"{question}\n" for question in _questions(name, turns)).encode()
    return child.hermes(["chat", "-m", model], home, place / name, lines, choose)


def _ask(place: Path, home: Path, number: int, choose: Callable[[], None]) -> list[str]:
    model = child.script(place / "ask.toml", [f"ask answers {number}"])
    said = place / f"ask-{number}"
    words = ["ask", "--log", "-m", model, f"ask asks {number}"]
    return _as_expected(
        said, child.wait(child.hermes(words, home, said, b"", choose)), [f"ask answers {number}"]
    )


def _questions(name: str, turns: int) -> list[str]:
    return [f"{name} asks {n}" for n in range(turns)]


def _answers(name: str, turns: int) -> list[str]:
    return [f"{name} is told {n}" for n in range(turns)]


def _as_expected(said: Path, code: int | None, answers: list[str]) -> list[str]:
    text = said.read_text(encoding="utf-8")
    if (code, text) == (0, "".join(f"{answer}\n" for answer in answers)):
        return []
    return [f"{said.name} ended with {code} and said …{text[-300:]!r}"]


def _misplaced(file: Path, turns: int, asks: int) -> list[str]:
    """Return the errors if a conversation does not have exactly its own turns, in order."""
    wanted = {
        f"{name} asks 0": [
            text for pair in zip(_questions(name, turns), _answers(name, turns), strict=True) for text in pair
        ]
        for name in NAMES
    }
    wanted |= {f"ask asks {n}": [f"ask asks {n}", f"ask answers {n}"] for n in range(asks)}
    wrong = []
    with closing(Store(file)) as store:
        for one in store.conversations():
            path = [message.text for message in store.path(one.leaf)]
            if path != wanted.pop(one.title, None) or one.count != len(path):
                wrong.append(
                    f"conversation {one.id} '{one.title}' holds {one.count} messages, in another order"
                )
    return wrong + [f"there is no conversation '{title}'" for title in wanted]


def main() -> int:
    """Run the writers with either journal, print the results, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m torture.writers", description=__doc__)
    parser.add_argument("turns", nargs="?", type=int, default=TURNS)
    turns = parser.parse_args().turns
    bad = 0
    for journal in CHOICES:
        with tempfile.TemporaryDirectory() as folder:
            result = one_journal(Path(folder), journal, turns)
        bad += len(result.wrong)
        for what in result.wrong:
            print(what, flush=True)
        what = f"2 chats of {turns} turns, {result.asks} times ask --log, {result.seconds:.0f} s"
        print(f"{result.journal}: {what}: {len(result.wrong)} things wrong", flush=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
