"""The schema of the database, and its migration from earlier versions.

A released step in MIGRATIONS is never changed; a new version adds a step.
"""

import contextlib
import sqlite3
from typing import Final

from hermes_cli.errors import StoreError

APPLICATION_ID: Final = 0x48524D53
"""The application id in the file header, "HRMS", which programs such as `file` can recognize."""
MOVE_IT: Final = "move it away, or run without saving: --no-log"
"""The hint if the file of the database is something else."""

# Partial answers are not in the search index: they are saved, and would be reindexed, once a second.
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

# The index is for the foreign key: without it, each removed message would be searched in all conversations.
_VERSION_3: Final = """
ALTER TABLE conversations ADD COLUMN is_importing INTEGER NOT NULL DEFAULT 0;
CREATE INDEX conversations_by_leaf ON conversations (leaf);
"""

_VERSION_4: Final = """
ALTER TABLE conversations ADD COLUMN import_hash TEXT NOT NULL DEFAULT '';
CREATE INDEX conversations_by_import ON conversations (import_hash) WHERE import_hash <> '';
"""

_VERSION_5: Final = """
ALTER TABLE messages ADD COLUMN is_hidden INTEGER NOT NULL DEFAULT 0;
"""

_VERSION_6: Final = """
ALTER TABLE messages ADD COLUMN speaker TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN is_named INTEGER NOT NULL DEFAULT 0;
"""

_VERSION_7: Final = """
ALTER TABLE messages ADD COLUMN reasoning TEXT NOT NULL DEFAULT '';
"""

MIGRATIONS: Final = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6, _VERSION_7)
"""The step at index n migrates from version n to version n + 1."""
VERSION: Final = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of a database, or 0 if the database is empty."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, steps: tuple[str, ...] = MIGRATIONS) -> None:
    """Migrate a database to version `len(steps)`, in one transaction.

    Raises StoreError for a database of a newer version or of another program.
    """
    connection.execute("BEGIN IMMEDIATE")  # the second of two processes waits, and then has nothing to do
    try:
        version = version_of(connection)
        reject_foreign(connection, len(steps))
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
    """Roll back a transaction after an error. Errors of the rollback are ignored.

    SQLite may already have rolled back. If a failing disk prevents the rollback, it is performed from the
    journal when the database is next opened.
    """
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def reject_foreign(connection: sqlite3.Connection, known: int = VERSION) -> None:
    """Raise StoreError for a database of another program, also in part, or of a version above `known`."""
    version = version_of(connection)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID and (version or tables):
        raise StoreError("the conversation file is another program's database", MOVE_IT)
    if version > known:
        raise StoreError(
            f"the conversations were written by a newer hermes (format {version}; this one reads {known})",
            "use that version, or run without saving: --no-log",
        )
    own = {statement.strip().removesuffix(";") for step in MIGRATIONS for statement in _statements(step)}
    programs = "SELECT type, sql FROM sqlite_master WHERE type IN ('trigger', 'view')"
    for kind, sql in connection.execute(programs):
        if sql not in own:  # SQLite would run it with each query
            raise StoreError(f"the conversation file contains a {kind} that hermes did not create", MOVE_IT)


def _statements(script: str) -> list[str]:
    """Split a script into statements, each of which must end at the end of a line.

    `executescript` cannot be used because it commits the open transaction.
    """
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
