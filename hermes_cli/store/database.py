"""SQLite connections: private files, a journal mode that is safe in this SQLite version, readable errors."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hermes_cli.errors import StoreDamaged, StoreError
from hermes_cli.store import schema

PATIENCE_S: Final = 20.0
"""Seconds that a write waits for the write of another process."""
WAL_IS_SAFE: Final = (3, 51, 3)
"""In earlier versions, two writers can lose a commit in a write-ahead log (sqlite.org, release 3.51.3)."""
_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def connect(path: Path | None) -> sqlite3.Connection:
    """Return a connection to a database, migrated to this version.

    A missing file is created, readable for its owner alone. Without a path, the database is in memory and
    ends with the connection.

    Raises StoreDamaged if the file is damaged, StoreError if it cannot be opened or is from a newer hermes.
    """
    if path is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        for pragma in ("foreign_keys = ON", "temp_store = MEMORY"):  # a large sort would write to the disk
            connection.execute(f"PRAGMA {pragma}")
        schema.migrate(connection)
        return connection
    with explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_mode & 0o077:  # the folder existed with wider permissions
            path.parent.chmod(0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's journals take its permissions
        connection = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
        try:
            connection.text_factory = lambda data: data.decode(
                "utf-8", "replace"
            )  # damaged texts stay readable
            for pragma in _pragmas(sqlite3.sqlite_version_info):
                _set(connection, pragma)
            if schema.version_of(connection) != schema.VERSION:
                schema.migrate(connection)
            _sync_folder(path.parent)
        except BaseException:
            connection.close()
            raise
        return connection


def _pragmas(version: tuple[int, ...]) -> tuple[str, ...]:
    """Return the pragmas of a connection.

    A commit must be on the disk when it returns. With a rollback journal this requires `synchronous = EXTRA`,
    which also waits for the directory entry.
    """
    journal = ("journal_mode = TRUNCATE", "synchronous = EXTRA")
    if version >= WAL_IS_SAFE:
        journal = ("journal_mode = WAL", "synchronous = FULL")
    return (*journal, "foreign_keys = ON", "secure_delete = ON", "temp_store = MEMORY")


def _sync_folder(folder: Path) -> None:
    """Write the directory entries of database and journal to the disk. SQLite ignores errors when it does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _set(connection: sqlite3.Connection, pragma: str) -> None:
    """Set a pragma. The journal mode stays unchanged if another process, with another SQLite, is using it."""
    try:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.OperationalError as error:
        if not pragma.startswith("journal_mode") or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn errors of SQLite and the operating system into StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _named(error, path) from error
    except OSError as error:
        no_rights = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        hint = "check the folder's permissions, or move it with OPENHERMES_HOME" if no_rights else ""
        raise StoreError(f"{path} cannot be written: {error.strerror or error}", hint) from error


def _named(error: sqlite3.Error, path: Path | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return StoreError("another window is writing to the conversations and does not finish", "try again")
    if code in _FULL:
        return StoreError(f"the disk that holds {path} is full or faulty: {error}", "free some space there")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(
            f"{path} is damaged: {error}", "'hermes sessions check --rescue' recovers what can be read"
        )
    return StoreError(f"{path}: {error}")


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path | None) -> Iterator[sqlite3.Connection]:
    """Run statements as one transaction: at the end, all of them are on the disk, or none.

    Raises StoreError if the transaction fails.
    """
    with explained(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            schema.roll_back(connection)
            raise
        try:
            connection.execute("COMMIT")
        except sqlite3.Error:
            schema.roll_back(connection)
            raise
