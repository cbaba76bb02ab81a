"""What must hold of a database, whatever was done to the processes that wrote it."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from hermes_cli.errors import StoreError
from hermes_cli.store.store import Store

Key = tuple[str, str, str]
"""Role, state and text of a message."""


def damage(file: Path) -> list[str]:
    """Return what is wrong with a database: opened anew, checked by SQLite, its index beside its texts."""
    try:
        Store(file).close()
        with closing(sqlite3.connect(file, isolation_level=None)) as raw:
            return _wrong(raw)
    except (StoreError, sqlite3.Error) as error:
        return [f"it does not open: {error}"]


def _wrong(raw: sqlite3.Connection) -> list[str]:
    wrong = [f"integrity: {row[0]}" for row in raw.execute("PRAGMA integrity_check") if row[0] != "ok"]
    wrong += [f"foreign key: {row}" for row in raw.execute("PRAGMA foreign_key_check")]
    raw.execute("BEGIN")
    try:
        # A growing reply is not in the index yet; at the next start it is stopped, and in it.
        raw.execute("UPDATE messages SET state = 'stopped' WHERE state = 'partial'")
        raw.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        wrong.append(f"index: {error}")
    finally:
        raw.execute("ROLLBACK")
    return wrong


def texts(file: Path) -> Counter[Key]:
    """Return how often each (role, state, text) stands in a database."""
    with closing(sqlite3.connect(file)) as raw:
        return Counter(raw.execute("SELECT role, state, text FROM messages"))


def not_once(file: Path, wanted: Iterable[Key]) -> list[str]:
    """Return which of the acknowledged messages are not there, or more than once."""
    found = texts(file)
    return [f"{found[key]} times: {' '.join(key)}" for key in wanted if found[key] != 1]
