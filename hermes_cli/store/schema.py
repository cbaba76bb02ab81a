"""The tables of the database, and the migration from earlier versions.

A released step in MIGRATIONS is never changed: a new version adds a step.
"""

import contextlib
import sqlite3
from typing import Final

from hermes_cli.errors import StoreError

APPLICATION_ID: Final = 0x48524D53
"""The value "HRMS" in the file's header, by which programs such as `file` identify it."""

# Partial answers are not in the search index: each write, one a second, would delete and insert them.
_VERSION_1: Final = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL DEFAULT '',
    is_named INTEGER NOT NULL DEFAULT 0,
    persona TEXT NOT NULL DEFAULT '',
    opening TEXT NOT NULL DEFAULT '[]',
    created REAL NOT NULL,
    updated REAL NOT NULL,
    leaf INTEGER REFERENCES messages (id) ON DELETE SET NULL
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent INTEGER REFERENCES messages (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    text TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('complete', 'stopped', 'failed', 'partial')),
    created REAL NOT NULL,
    model TEXT NOT NULL DEFAULT '',
    precision TEXT NOT NULL DEFAULT '',
    options TEXT NOT NULL DEFAULT '{}',
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    prefill_s REAL NOT NULL DEFAULT 0,
    decode_s REAL NOT NULL DEFAULT 0,
    vocabulary TEXT NOT NULL DEFAULT '',
    token_ids BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE INDEX messages_by_parent ON messages (conversation, parent);
CREATE INDEX messages_by_parent_alone ON messages (parent);
CREATE INDEX conversations_by_time ON conversations (updated);
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER message_added AFTER INSERT ON messages WHEN new.state <> 'partial' BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER message_changing BEFORE UPDATE OF text, state ON messages WHEN old.state <> 'partial' BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER message_changed AFTER UPDATE OF text, state ON messages WHEN new.state <> 'partial' BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER message_removed BEFORE DELETE ON messages WHEN old.state <> 'partial' BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
"""

_VERSION_2: Final = """
ALTER TABLE conversations ADD COLUMN setting TEXT NOT NULL DEFAULT '{}';
"""

MIGRATIONS: Final = (_VERSION_1, _VERSION_2)
"""The step at index n migrates from version n to version n + 1."""
VERSION: Final = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, steps: tuple[str, ...] = MIGRATIONS) -> None:
    """Migrate a database to version `len(steps)`, in one transaction.

    Raises StoreError for a database of a newer version or of another program.
    """
    connection.execute("BEGIN IMMEDIATE")  # if two processes start at once, the second finds it done
    try:
        version = version_of(connection)
        _refuse_foreign(connection, version, len(steps))
        for number, step in enumerate(steps[version:], version + 1):
            for statement in _statements(step):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """Roll a transaction back after an error. Errors of the rollback are ignored: the first one is reported.

    SQLite may have rolled back already. If a failing disk prevents the rollback, the next process that opens
    the database performs it from the journal.
    """
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _refuse_foreign(connection: sqlite3.Connection, version: int, known: int) -> None:
    if version > known:
        raise StoreError(
            f"the conversations were written by a newer hermes (format {version}; this one reads {known})",
            "use that version, or run without saving: --no-log",
        )
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID and (version or tables):
        raise StoreError(
            "the file of the conversations is another program's database", "move it away, or use --no-log"
        )


def _statements(script: str) -> list[str]:
    """Return the statements of a script. Each must end at the end of a line.

    `executescript` cannot be used because it commits the open transaction.
    """
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return found
