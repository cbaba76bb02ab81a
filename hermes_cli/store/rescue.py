"""A damaged database: what can still be read of it goes into a new one, and the damaged file is kept aside.

It works on a copy, so that the damaged file stays as it was found. A page that is damaged costs the rows on it
alone: they are asked for one by one where reading them in a row breaks off. Where the first page is damaged,
which says where the tables are, a new database's first page takes its place: tables made by the same steps
have the same places.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_cli.errors import StoreDamaged, StoreError
from hermes_cli.store.claims import Claims
from hermes_cli.store.database import connect, explained, transaction

JOURNALS = ("-journal", "-wal", "-shm")
SMALLEST_ROW = 16
"""Bytes a row takes at least: so many ids are tried where nothing says how many there were."""
TITLE = "(rescued)"


@dataclass(frozen=True, slots=True)
class Rescued:
    """What came over: how many conversations and messages, and where the damaged file is now."""

    aside: Path
    conversations: int
    messages: int


def rescue(file: Path, claims: Claims) -> Rescued | None:
    """Put a new database with what can be read in a damaged one's place. None where it is not damaged any more.

    Raises StoreError where another window has it open, or the disk does not take the new one.
    """
    with explained(file), _alone(file):
        with contextlib.suppress(StoreDamaged):
            connect(file).close()
            return None
        return _replaced(file, claims)


def rescue_anyway(file: Path, claims: Claims) -> Rescued:
    """The same for a database that can be opened, and is damaged further in."""
    with explained(file), _alone(file):
        return _replaced(file, claims)


def _replaced(file: Path, claims: Claims) -> Rescued:
    if claims.any_elsewhere():
        raise StoreError(f"{file} is damaged, and another window has it open", "close that window first")
    with tempfile.TemporaryDirectory(prefix=".rescue-", dir=file.parent) as folder:
        new = Path(folder) / "new.db"
        conversations, messages = _copied(file, new, Path(folder))
        aside = _aside(file)
        os.link(file, aside)  # at no moment is there no database, which would begin an empty one
        for ending in JOURNALS:
            journal = file.with_name(file.name + ending)
            if journal.exists():
                journal.rename(aside.with_name(aside.name + ending))
        new.replace(file)
    return Rescued(aside, conversations, messages)


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one window at a time rescue."""
    lock = os.open(file.with_name("rescue.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _aside(file: Path) -> Path:
    number = 1
    while (path := file.with_name(f"{file.stem}.damaged-{number}{file.suffix}")).exists():
        number += 1
    return path


def _copied(file: Path, new: Path, folder: Path) -> tuple[int, int]:
    """Make a new database, fill it, and return how many conversations and messages it holds."""
    target = connect(new)
    try:
        first_page = new.read_bytes()[: _page_size(target)]
        with transaction(target, new) as database:
            database.execute("PRAGMA defer_foreign_keys = ON")
            for source in _sources(file, folder, first_page):
                for table in ("conversations", "messages"):
                    _copy_table(source, database, table, file.stat().st_size // SMALLEST_ROW)
                source.close()
            _mend(database)
            counts = [
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants
                for table in ("conversations", "messages")
            ]
        target.execute("PRAGMA journal_mode = DELETE")  # its journal does not move with it
    finally:
        target.close()
    return counts[0], counts[1]


def _page_size(connection: sqlite3.Connection) -> int:
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(size)


def _sources(file: Path, folder: Path, first_page: bytes) -> Iterator[sqlite3.Connection]:
    """Yield the damaged database as it is, or else with a new first page; none where nothing can be read."""
    for page in (b"", first_page):
        copy = folder / "copy.db"
        shutil.copyfile(file, copy)
        for ending in JOURNALS:
            journal = file.with_name(file.name + ending)
            if journal.exists() and not page:
                shutil.copyfile(journal, copy.with_name(copy.name + ending))
            else:
                copy.with_name(copy.name + ending).unlink(missing_ok=True)
        if page:
            with copy.open("r+b") as raw:
                raw.write(page)
                raw.seek(28)  # the number of pages, which SQLite would otherwise take for the size
                raw.write((copy.stat().st_size // len(page)).to_bytes(4, "big"))
        source = sqlite3.connect(copy, isolation_level=None)
        source.text_factory = lambda data: data.decode("utf-8", "replace")
        with contextlib.suppress(sqlite3.Error):
            source.execute("SELECT id FROM messages LIMIT 1").fetchall()
            yield source
            return
        source.close()


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, most: int) -> None:
    """Copy the rows that can be read and that the new table takes."""
    ours = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    theirs = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    names = [name for name in ours if name in theirs]
    marks = ", ".join("?" * len(names))
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our names
    for row in _rows(source, table, names, most):
        with contextlib.suppress(sqlite3.Error, OverflowError):  # a row that was overwritten
            target.execute(insert, row)


def _rows(
    source: sqlite3.Connection, table: str, names: Sequence[str], most: int
) -> Iterator[tuple[object, ...]]:
    select = f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608 - our names
    last = 0
    with contextlib.suppress(sqlite3.Error):
        for row in source.execute(f"{select} ORDER BY id"):
            yield row
            last = max(last, row[0])
        return
    for number in range(last + 1, _last_id(source, table, most) + 1):
        with contextlib.suppress(sqlite3.Error):
            yield from source.execute(f"{select} WHERE id = ?", (number,)).fetchall()


def _last_id(source: sqlite3.Connection, table: str, most: int) -> int:
    for query in (
        f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",  # noqa: S608 - our names
        f"SELECT max(id) FROM {table}",  # noqa: S608
    ):
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            (found,) = source.execute(query).fetchone()
            return min(int(found), most)
    return most


def _mend(database: sqlite3.Connection) -> None:
    """Give what lost its conversation, its parent or its place another one."""
    database.execute(
        "INSERT INTO conversations (id, title, created, updated) "
        "SELECT conversation, ?, min(created), max(created) FROM messages "
        "WHERE conversation NOT IN (SELECT id FROM conversations) GROUP BY conversation",
        (TITLE,),
    )
    database.execute(
        "UPDATE messages SET parent = NULL WHERE parent NOT IN "
        "(SELECT id FROM messages p WHERE p.conversation = messages.conversation)"
    )
    database.execute(
        "UPDATE conversations SET leaf = (SELECT max(id) FROM messages m WHERE m.conversation = conversations.id) "
        "WHERE leaf IS NULL OR leaf NOT IN (SELECT id FROM messages m WHERE m.conversation = conversations.id)"
    )
