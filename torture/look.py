"""Checks of a database whose writers failed or were killed."""

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
    """Return the errors of a database: it is opened again, checked by SQLite, and its index is compared."""
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
        # A growing answer is not in the index yet; the next start marks it as stopped and adds it.
        raw.execute("UPDATE messages SET state = 'stopped' WHERE state = 'partial'")
        raw.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        wrong.append(f"index: {error}")
    finally:
        raw.execute("ROLLBACK")
    return wrong


def texts(file: Path) -> Counter[Key]:
    """Return how often each (role, state, text) occurs in a database."""
    with closing(sqlite3.connect(file)) as raw:
        return Counter(raw.execute("SELECT role, state, text FROM messages"))


def not_once(file: Path, wanted: Iterable[Key]) -> list[str]:
    """Return the acknowledged messages that are missing or occur more than once, as texts."""
    found = texts(file)
    return [f"{found[key]} times: {' '.join(key)}" for key in wanted if found[key] != 1]
