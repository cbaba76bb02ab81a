"""Make three programs write to one database at once: `python -m torture.writers [TURNS]`.

There are two chats of TURNS turns each, and a script that runs `ask --log` repeatedly while they run, with
both of SQLite's journals that hermes uses. Every turn must be in the database once, in its own conversation,
in order, and the database must be undamaged. Exits 1 if one of these does not hold.
"""

import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from hermes_cli.store import database
from hermes_cli.store.store import Store
from torture import checks, child

TURNS = 1000
NAMES = ("ada", "bob")
JOURNALS = {"truncate": (99, 0, 0), "wal": (0, 0, 0)}
"""By journal mode, the first version of SQLite whose write-ahead log is treated as safe."""


def one_journal(place: Path, journal: str, turns: int) -> tuple[int, list[str]]:
    home, wrong, asks = place / "home", list[str](), 0

    def choose_journal() -> None:
        vars(database)["WAL_IS_SAFE"] = JOURNALS[journal]

    def check(ended: child.Ended, name: str, turns: int, first: int = 0) -> list[str]:
        expected = child.Ended(0, "".join(f"{name} answers {n}\n" for n in range(first, first + turns)))
        return [] if ended == expected else [f"{name} ended with {ended.code}: …{ended.output[-300:]!r}"]

    running = {}
    for name in NAMES:
        model = child.script(place / f"{name}.toml", [f"{name} answers {n}" for n in range(turns)], 10**7)
        lines = "".join(f"{name} asks {n}\n" for n in range(turns)).encode()
        running[name] = child.start(["chat", "-m", model], home, place / name, lines, choose_journal)
    while running:
        model = child.script(place / "ask.toml", [f"ask answers {asks}"])
        words = ["ask", "--log", "-m", model, f"ask asks {asks}"]
        wrong += check(child.run(words, home, place / "ask", b"", choose_journal), "ask", 1, asks)
        asks += 1
        for name, process in list(running.items()):
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                del running[name]
                output = (place / name).read_text(encoding="utf-8")
                wrong += check(child.Ended(os.waitstatus_to_exitcode(status), output), name, turns)
    file = home / "data" / "conversations.db"
    with closing(sqlite3.connect(file)) as raw:
        mode = raw.execute("PRAGMA journal_mode").fetchone()[0]
    wrong += [] if (mode == "wal") == (journal == "wal") else [f"the journal is {mode}"]
    return asks, wrong + checks.damage(file) + _misplaced(file, turns, asks)


def _misplaced(file: Path, turns: int, asks: int) -> list[str]:
    """Return the errors if a conversation does not have exactly its own turns, in order."""
    ranges = {f"{name} asks 0": (name, range(turns)) for name in NAMES}
    ranges |= {f"ask asks {n}": ("ask", range(n, n + 1)) for n in range(asks)}
    wrong = []
    with closing(Store(file)) as store:
        for conversation in store.conversations():
            name, numbers = ranges.pop(conversation.title, ("", range(0)))
            expected = [f"{name} {verb} {n}" for n in numbers for verb in ("asks", "answers")]
            path = [message.text for message in store.path(conversation.leaf)]
            if path != expected or conversation.message_count != len(path):
                wrong.append(
                    f"'{conversation.title}' has {conversation.message_count} messages, or another order"
                )
    return wrong + [f"there is no conversation '{title}'" for title in ranges]


def main() -> int:
    turns, bad = int(sys.argv[1]) if len(sys.argv) > 1 else TURNS, 0
    for journal in JOURNALS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            asks, wrong = one_journal(Path(folder), journal, turns)
        for what in wrong:
            print(what, flush=True)
        bad += len(wrong)
        what = f"2 chats of {turns} turns, {asks} times ask --log, {time.monotonic() - began:.0f} s"
        print(f"{journal}: {what}: {len(wrong)} things wrong", flush=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
