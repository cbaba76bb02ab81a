"""SQLite connections with private files, a safe journal mode, and readable error messages."""

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hermes_cli.errors import StoreDamaged, StoreError
from hermes_cli.private_files import create_folders
from hermes_cli.store import schema

PATIENCE_S: Final = 20.0
"""Seconds to wait while another process writes to the database."""
JOURNALS: Final = ("-journal", "-wal", "-shm")
"""The endings of the files that SQLite keeps beside a database."""
RESCUE: Final = "'hermes sessions check --rescue' recovers what can be read"
"""The hint if data are damaged."""
WAL_IS_SAFE: Final = (3, 51, 3)
"""Earlier SQLite versions can lose a commit in WAL mode if two processes write (sqlite.org)."""
_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def connect(path: Path | None) -> sqlite3.Connection:
    """Return a connection to a database, migrated to the current version.

    A missing file is created, readable only by its owner. Without a path, the database is in memory and is
    deleted when the connection is closed.

    Raises StoreDamaged if the file is damaged or not a database, or StoreError if it is unusable, of another
    program or from a newer hermes. Such a file is not changed.
    """
    if path is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        for pragma in ("foreign_keys = ON", "temp_store = MEMORY"):  # otherwise a large sort uses the disk
            connection.execute(f"PRAGMA {pragma}")
        schema.migrate(connection)
        return connection
    with explained(path):
        create_folders(path.parent)
        if path.parent.stat().st_mode & 0o077:  # the folder already existed, with wider permissions
            path.parent.chmod(0o700)
        _reject_special(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_size == 1:  # SQLite would treat it as empty
            raise StoreDamaged(f"{path} is damaged: file is not a database", RESCUE)
        connection = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
        try:
            connection.text_factory = _decode
            schema.reject_foreign(connection)  # before the journal mode, which is stored in the file
            _make_private(path)
            for pragma in _pragmas(sqlite3.sqlite_version_info):
                _set(connection, pragma)
            if schema.version_of(connection) != schema.VERSION:
                schema.migrate(connection)
            _sync_folder(path.parent)
        except BaseException:
            connection.close()
            raise
        return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection to a database that cannot be written, such as one on a read-only file system.

    Raises the errors of `connect`, and StoreError if the database is of an older version.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    with explained(path):
        _reject_special(path)
        log = path.with_name(f"{path.name}-wal")
        try:
            return _checked(sqlite3.connect(address, timeout=PATIENCE_S, uri=True))
        except sqlite3.OperationalError:
            # In WAL mode, reading creates a file beside the database, unless that is called immutable. SQLite
            # then ignores the log, so the log must be empty.
            if log.exists() and log.stat().st_size:
                raise
            return _checked(sqlite3.connect(f"{address}&immutable=1", uri=True))


def _checked(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return the connection if the database is of the current version, or close it and raise an error."""
    try:
        connection.text_factory = _decode
        schema.reject_foreign(connection)
        _reject_older(connection)
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _reject_older(connection: sqlite3.Connection) -> None:
    if schema.version_of(connection) != schema.VERSION:
        raise StoreError(
            "the conversations were written by an older hermes, and cannot be converted here",
            "copy their folder to one that you can write to, and set OPENHERMES_HOME to it",
        )


def _decode(data: bytes) -> str:
    """Decode text so that damaged text stays readable."""
    return data.decode("utf-8", "replace")


def find_problem(path: Path) -> StoreError | None:
    """Return the error that opening or checking a database raises, or None. The file is not changed.

    All pages are read, which takes about a second per gigabyte.
    """
    try:
        with explained(path):
            _reject_special(path)
            if not path.exists():
                return None
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                schema.reject_foreign(connection)
                (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            finally:
                connection.close()
    except StoreError as error:
        return error
    return None if result == "ok" else StoreDamaged(f"{path} is damaged: {result}", RESCUE)


def _reject_special(path: Path) -> None:
    """Raise StoreError if the database or a journal is a device or a named pipe, whose opening could wait."""
    for file in (path, *(path.with_name(path.name + ending) for ending in JOURNALS)):
        if file.exists() and not file.is_file():
            raise StoreError(f"{file} is not a regular file", schema.MOVE_IT)


def _make_private(path: Path) -> None:
    """Make a database readable only by its owner. SQLite gives its journals the same mode."""
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077 and status.st_uid == os.geteuid():
        path.chmod(0o600)


def _pragmas(version: tuple[int, ...]) -> tuple[str, ...]:
    """Return the pragmas of a connection.

    A commit must be on disk when it returns. With a rollback journal, this requires `synchronous = EXTRA`,
    which also syncs the folder.
    """
    journal = ("journal_mode = TRUNCATE", "synchronous = EXTRA")
    if version >= WAL_IS_SAFE:
        journal = ("journal_mode = WAL", "synchronous = FULL")
    return (*journal, "foreign_keys = ON", "secure_delete = ON", "temp_store = MEMORY")


def _sync_folder(folder: Path) -> None:
    """Sync the folder of the database to disk. SQLite does so too, but ignores errors."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _set(connection: sqlite3.Connection, pragma: str) -> None:
    """Set a pragma. The journal mode is not changed while a process with another SQLite version uses it."""
    try:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.OperationalError as error:
        if not pragma.startswith("journal_mode") or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Convert errors of SQLite and the operating system to StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _store_error(error, path) from error
    except OSError as error:
        is_denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        hint = "check the folder's permissions, or move it with OPENHERMES_HOME" if is_denied else ""
        hint = "remove this symbolic link" if error.errno == errno.ELOOP else hint
        raise StoreError(f"{path} cannot be written: {error.strerror or error}", hint) from error


def _store_error(error: sqlite3.Error, path: Path | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return StoreError("another window is still writing to the conversations", "try again")
    if code in _FULL:
        return StoreError(f"the disk that holds {path} is full or faulty: {error}", "free some space there")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(f"{path} is damaged: {error}", RESCUE)
    if code == sqlite3.SQLITE_CANTOPEN:  # SQLite follows no symbolic link to a journal
        return StoreError(
            f"{path} or a journal in its folder cannot be opened",
            "check their permissions, and remove a journal that is a symbolic link",
        )
    return StoreError(f"{path}: {error}")


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path | None) -> Iterator[sqlite3.Connection]:
    """Run statements as one transaction: either all of them are written to disk, or none.

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
