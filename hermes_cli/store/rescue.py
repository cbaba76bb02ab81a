"""Rescues a damaged database: copies the readable rows to a new database and keeps the damaged file.

The file, or a copy if it has a journal, is read page by page. The damaged file stays unchanged, and a damaged
page causes the loss of its own rows only.
"""

import contextlib
import mmap
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hermes_cli.errors import StoreDamaged, StoreError
from hermes_cli.store import schema, sqlite_pages
from hermes_cli.store.database import JOURNALS, connect, explained, transaction
from hermes_cli.store.locks import lock_database, release
from hermes_cli.store.rows import (
    CONVERSATION,
    CONVERSATION_COLUMNS,
    MESSAGE,
    MESSAGE_COLUMNS,
    conversation_of,
    message_of,
)

TABLES = ("conversations", "messages")
OLDER_WIDTHS = {"conversations": (8, 9, 10), "messages": (17,)}
"""The column counts of rows written by earlier versions. Columns added later come last."""
SELECTS = {
    "conversations": (f"SELECT {CONVERSATION} FROM conversations c", CONVERSATION_COLUMNS),  # noqa: S608 - constants
    "messages": (f"SELECT {MESSAGE} FROM messages", MESSAGE_COLUMNS),  # noqa: S608 - constants
}
UNFINISHED, DAMAGED = ".rescue-", ".damaged-"
TITLE = "(rescued)"
MAGIC = b"SQLite format 3\0"
LONGEST_UNKNOWN = 4 << 30
"""The size in bytes up to which a file without the header of a database is searched for rows."""


class Rescued(NamedTuple):
    """The result of a rescue: the new path of the damaged file, and the numbers of rescued rows."""

    aside: Path
    conversations: int
    messages: int


def rescue(file: Path, *, even_if_it_opens: bool = False) -> Rescued | None:
    """Replace a damaged database with a new one that contains the readable rows.

    Return None if the file can be opened, for example because another process already rescued it. With
    `even_if_it_opens`, rescue it anyway: the damage may be in pages that are not read on opening. Raises
    StoreError if another process has the file open, if the new database cannot be written, or if the file is
    not a database of hermes. In these cases the file is not changed.
    """
    file = file.resolve()
    lock = lock_database(file, exclusive=True)
    try:
        with explained(file):
            for leftover in file.parent.glob(f"{UNFINISHED}*"):  # from a killed rescue
                shutil.rmtree(leftover, ignore_errors=True)
            if not even_if_it_opens:
                with contextlib.suppress(StoreDamaged):
                    connect(file).close()
                    return None
            return _replaced(file)
    finally:
        release(lock)


def _replaced(file: Path) -> Rescued:
    if file.stat().st_size > LONGEST_UNKNOWN and not _is_ours(file):
        raise StoreError(f"{file} is not a database of conversations", schema.MOVE_IT)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=file.parent) as folder:
        new = Path(folder) / "new.db"
        conversations, messages = _copied(file, new, Path(folder))
        if not conversations and not _is_ours(file):
            raise StoreError(f"{file} is not a database of conversations", schema.MOVE_IT)
        aside = _aside(file)
        try:  # link, not rename: without the file, another process would create an empty one
            os.link(file, aside)
        except OSError:  # the file system does not support hard links
            shutil.copy2(file, aside)
        for ending in JOURNALS:
            journal = file.with_name(file.name + ending)
            if journal.exists():
                journal.rename(aside.with_name(aside.name + ending))
        new.replace(file)
    return Rescued(aside, conversations, messages)


def _is_ours(file: Path) -> bool:
    """Return whether the header of a file has the application id of hermes, at offset 68."""
    with file.open("rb") as data:
        header = data.read(72)
    return header.startswith(MAGIC) and int.from_bytes(header[68:], "big") == schema.APPLICATION_ID


def kept_aside(file: Path) -> list[Path]:
    """Return the paths of the damaged databases kept by earlier rescues."""
    return sorted(file.parent.glob(f"{file.stem}{DAMAGED}*{file.suffix}"))


def _aside(file: Path) -> Path:
    number = 1
    while (path := file.with_name(f"{file.stem}{DAMAGED}{number}{file.suffix}")).exists():
        number += 1
    return path


def _copied(file: Path, new: Path, folder: Path) -> tuple[int, int]:
    """Copy the readable rows to a new database, and return its numbers of conversations and messages."""
    target = connect(new)
    try:
        with transaction(target, new) as database:
            database.execute("PRAGMA defer_foreign_keys = ON")
            with _mapped(_with_journal(file, folder)) as data:
                _fill(database, data)
            _repair(database)
            conversations, messages = (
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants
                for table in TABLES
            )
        target.execute("PRAGMA journal_mode = DELETE")  # the caller moves only the database file
    finally:
        target.close()
    return conversations, messages


def _with_journal(file: Path, folder: Path) -> Path:
    """Return the file itself, or, if it has a journal, a copy in `folder` with the journal applied."""
    journals = [ending for ending in JOURNALS if file.with_name(file.name + ending).exists()]
    if not journals:
        return file
    copy = folder / "copy.db"
    shutil.copyfile(file, copy)
    for ending in journals:
        shutil.copyfile(file.with_name(file.name + ending), copy.with_name(copy.name + ending))
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(copy)) as source:
        source.execute("PRAGMA journal_mode = DELETE").fetchall()
        source.execute("SELECT count(*) FROM sqlite_master").fetchall()
    return copy


@contextlib.contextmanager
def _mapped(file: Path) -> Iterator[mmap.mmap | bytes]:
    """Map a file, which may be larger than the memory. An empty file cannot be mapped."""
    if not file.stat().st_size:
        yield b""
        return
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _fill(database: sqlite3.Connection, data: mmap.mmap | bytes) -> None:
    """Insert the rows that fit a table. A row's number of columns determines its table."""
    inserts = {}
    for table in TABLES:
        columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
        for width in (len(columns), *OLDER_WIDTHS[table]):
            names, marks = ", ".join(columns[:width]), ", ".join("?" * width)
            inserts[width] = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - constants
    for rowid, values in sqlite_pages.rows(data):
        insert = inserts.get(len(values))
        if insert is not None and values[0] is None:
            with contextlib.suppress(sqlite3.Error, OverflowError):  # the bytes were not a row
                database.execute(insert, (rowid, *values[1:]))


def _repair(database: sqlite3.Connection) -> None:
    """Repair missing conversations, parents and leaves, and values that are not allowed in their column."""
    database.execute(
        "INSERT INTO conversations (id, title, created, updated) "
        "SELECT conversation, ?, min(created), max(created) FROM messages "
        "WHERE conversation NOT IN (SELECT id FROM conversations) GROUP BY conversation",
        (TITLE,),
    )
    now = time.time()
    defaults: dict[str, Any] = {"created": now, "updated": now, "opening": "[]", "setting": "{}"}
    _reset_invalid(database, "conversations", conversation_of, defaults)
    counts = dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens"), 0)
    defaults = {
        "created": now,
        "options": "{}",
        "token_ids": b"",
        "prefill_s": 0.0,
        "decode_s": 0.0,
        "is_hidden": 0,
        **counts,
    }
    _reset_invalid(database, "messages", message_of, defaults)
    database.execute("UPDATE messages SET vocabulary = '' WHERE token_ids = x''")
    database.execute(
        "UPDATE messages SET parent = NULL WHERE parent >= id OR parent NOT IN "
        "(SELECT id FROM messages p WHERE p.conversation = messages.conversation)"
    )
    database.execute(
        "UPDATE conversations SET leaf = (SELECT max(m.id) FROM messages m WHERE m.conversation = "
        "conversations.id) WHERE leaf NOT IN (SELECT m.id FROM messages m WHERE m.conversation = "
        "conversations.id) OR title = ?",
        (TITLE,),
    )


def _reset_invalid(
    database: sqlite3.Connection,
    table: str,
    read: Callable[[tuple[Any, ...]], object],
    defaults: dict[str, Any],
) -> None:
    """Set the values in a table for which `read` raises StoreDamaged to defaults."""
    query, columns = SELECTS[table]

    def is_valid(row: Sequence[Any]) -> bool:
        try:
            read(tuple(row))
        except StoreDamaged:
            return False
        return True

    for row in [row for row in database.execute(query) if not is_valid(row)]:
        stored = dict(zip(columns, row, strict=True))
        for name, default in defaults.items():
            if not is_valid(list((stored | defaults | {name: stored[name]}).values())):
                update = f"UPDATE {table} SET {name} = ? WHERE id = ?"  # noqa: S608 - constants
                database.execute(update, (default, row[0]))
