"""Stores conversations as trees of messages. A single message is removed only if it was refused.

A method that writes runs one transaction, which is on disk when it returns. All methods raise StoreError.
"""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from hermes_cli.errors import StoreDamaged, StoreError
from hermes_cli.messages import Message, Role
from hermes_cli.store.database import connect, connect_to_read, explained, transaction
from hermes_cli.store.imports import Imports, insert_conversation
from hermes_cli.store.locks import LOCKS_FOLDER, ConversationLocks, lock_database, release
from hermes_cli.store.records import SavedSettings, StoredConversation
from hermes_cli.store.rows import (
    ADD_MESSAGE,
    GENERATION_COLUMNS,
    generation_row,
    opening_text,
    settings_text,
)
from hermes_cli.tree import GenerationRecord, MessageState, Tree

T = TypeVar("T")
TITLE_LENGTH = 60


class Store(Imports):
    """A database of conversations. Several processes may have the same file open.

    Without a file, the database is in memory, and nothing is written to disk. With `read_only`, the file is
    not changed, no lock is taken, and methods that write fail.
    """

    def __init__(self, file: Path | None = None, *, read_only: bool = False) -> None:
        self.file = file
        self.locks = ConversationLocks(file.with_name(LOCKS_FOLDER) if file else None)
        self._database_lock = lock_database(file) if file and not read_only else None
        try:
            self._connection = connect_to_read(file) if file and read_only else connect(file)
        except BaseException:
            self._release_database()
            raise

    def close(self) -> None:
        """Close the database and release all locks. A second call has no effect."""
        self._connection.close()
        self.locks.release()
        self._release_database()

    def _release_database(self) -> None:
        if self._database_lock is not None:
            release(self._database_lock)
            self._database_lock = None

    # Writing

    def begin(
        self,
        opening: Sequence[Message],
        persona: str,
        tree: Tree | None = None,
        settings: SavedSettings | None = None,
        *,
        title: str = "",
        question: str = "",
        lock: bool = False,
    ) -> int:
        """Create a conversation with the messages of a tree, and return its id.

        If `lock` is true, this process locks it before other processes can see it. The default title is taken
        from `question`, or else from its first user message.
        """
        tree = tree or Tree()
        default_title = title_of(question) or next(
            (title_of(node.text) for node in tree.nodes if node.role is Role.USER), ""
        )
        new = StoredConversation(
            0, title or default_title, bool(title), persona, tuple(opening), 0, 0, tree.cursor,
            setting=settings or SavedSettings(),
        )  # fmt: skip
        with transaction(self._connection, self.file) as database:
            *_, number = insert_conversation(database, new, tree.nodes)
            if lock:
                self.locks.acquire(number)
            return number

    def add(
        self,
        conversation: int,
        parent: int | None,
        message: Message,
        state: MessageState = MessageState.COMPLETE,
        made: GenerationRecord | None = None,
        *,
        is_hidden: bool = False,
    ) -> int:
        """Add a message under `parent`, make it the last visible one, and return its id.

        If the conversation has no title, the title is taken from the first user message.
        """
        now = time.time()
        row = (conversation, parent, message.role, message.text, state, now)
        with transaction(self._connection, self.file) as database:
            if parent is not None:
                self._require(database, conversation, parent)
            values = (*row, *generation_row(made or GenerationRecord()), is_hidden, message.speaker)
            cursor = database.execute(ADD_MESSAGE, values)
            number = int(cursor.lastrowid or 0)
            database.execute(
                "UPDATE conversations SET leaf = ?, updated = ?, "
                "title = CASE WHEN title = '' AND ? = 'user' THEN ? ELSE title END WHERE id = ?",
                (number, now, message.role, title_of(message.text), conversation),
            )
            return number

    def grow(self, message: int, text: str) -> None:
        """Save the text of an unfinished answer."""
        with transaction(self._connection, self.file) as database:
            _require_one_row(database.execute("UPDATE messages SET text = ? WHERE id = ?", (text, message)))

    def end(self, message: int, text: str, state: MessageState, made: GenerationRecord) -> None:
        """Save the final text of an answer, its state, and how it was generated."""
        names = ", ".join(f"{name} = ?" for name in GENERATION_COLUMNS)
        with transaction(self._connection, self.file) as database:
            _require_one_row(
                database.execute(
                    f"UPDATE messages SET text = ?, state = ?, {names} WHERE id = ?",  # noqa: S608 - constants
                    (text, state, *generation_row(made), message),
                )
            )
            database.execute(
                "UPDATE conversations SET updated = ? "
                "WHERE id = (SELECT conversation FROM messages WHERE id = ?)",
                (time.time(), message),
            )

    def move(self, conversation: int, leaf: int | None) -> None:
        """Make a message the last visible one. None hides all messages."""
        with transaction(self._connection, self.file) as database:
            if leaf is not None:
                self._require(database, conversation, leaf)
            query = "UPDATE conversations SET leaf = ? WHERE id = ?"
            _require_one_row(database.execute(query, (leaf, conversation)))

    def set_hidden(self, message: int, *, is_hidden: bool) -> None:
        """Save whether a message is left out of prompts."""
        with transaction(self._connection, self.file) as database:
            query = "UPDATE messages SET is_hidden = ? WHERE id = ?"
            _require_one_row(database.execute(query, (is_hidden, message)))

    def set_opening(self, conversation: int, opening: Sequence[Message]) -> None:
        """Replace the opening of a conversation, for example after a change of the system prompt."""
        with transaction(self._connection, self.file) as database:
            query = "UPDATE conversations SET opening = ? WHERE id = ?"
            _require_one_row(database.execute(query, (opening_text(opening), conversation)))

    def set_persona(self, conversation: int, persona: str, opening: Sequence[Message]) -> None:
        """Replace the persona of a conversation and its opening."""
        with transaction(self._connection, self.file) as database:
            query = "UPDATE conversations SET persona = ?, opening = ? WHERE id = ?"
            _require_one_row(database.execute(query, (persona, opening_text(opening), conversation)))

    def set_setting(self, conversation: int, setting: SavedSettings) -> None:
        """Save the settings of a conversation."""
        with transaction(self._connection, self.file) as database:
            query = "UPDATE conversations SET setting = ? WHERE id = ?"
            _require_one_row(database.execute(query, (settings_text(setting), conversation)))

    def rename(self, conversation: int, title: str) -> None:
        """Set a conversation's title to one chosen by the user."""
        with transaction(self._connection, self.file) as database:
            query = "UPDATE conversations SET title = ?, is_named = 1 WHERE id = ?"
            _require_one_row(database.execute(query, (title, conversation)))

    def remove(self, conversations: Sequence[int]) -> int:
        """Delete conversations, erase their text from the file, and return the number of deleted ones.

        Raises StoreError if the text cannot be erased yet because another process is reading the file.
        """
        with transaction(self._connection, self.file) as database:
            count = _delete(database, conversations)
            # SQLite before 3.42 keeps deleted words in the search index until its segments are merged.
            database.execute("INSERT INTO words (words) VALUES ('optimize')")
        with explained(self.file):
            (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError(
                "removed, but another window is reading the file, which still contains the text",
                "close that window; 'hermes sessions check' then erases it",
            )
        return count

    def withdraw(self, conversation: int, message: int, leaf: int | None) -> None:
        """Remove a message without answers, and make `leaf` the last visible one."""
        with transaction(self._connection, self.file) as database:
            update = "UPDATE conversations SET leaf = ? WHERE id = ?"
            _require_one_row(database.execute(update, (leaf, conversation)))
            _require_one_row(database.execute("DELETE FROM messages WHERE id = ?", (message,)))

    def withdraw_conversation(self, conversation: int) -> None:
        """Remove a conversation whose first turn was refused, and release its lock."""
        with transaction(self._connection, self.file) as database:
            _delete(database, [conversation])
        self.locks.drop(conversation)

    def stop_partial(self, conversation: int) -> None:
        """Mark the unfinished answers of a conversation as STOPPED. No process may still be writing them."""
        with transaction(self._connection, self.file) as database:
            database.execute(
                "UPDATE messages SET state = ? WHERE conversation = ? AND state = ?",
                (MessageState.STOPPED, conversation, MessageState.PARTIAL),
            )

    @staticmethod
    def _require(database: sqlite3.Connection, conversation: int, message: int) -> None:
        row = database.execute("SELECT conversation FROM messages WHERE id = ?", (message,)).fetchone()
        if row is None or row[0] != conversation:
            raise StoreError(
                f"conversation {conversation} has no message {message}", "/tree lists its messages"
            )

    def check(self) -> list[str]:
        """Check the database, and return a line for each problem. An incorrect search index is rebuilt."""
        problems = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
        problems += self._unreadable()
        for table, _, owner, _ in self._rows("PRAGMA foreign_key_check"):
            problems.append(f"a row of {table} has no matching row in {owner}")
        growing = "FROM messages WHERE state = 'partial'"  # the check expects them in the search index
        with transaction(self._connection, self.file) as database:
            try:
                database.execute(f"INSERT INTO words (rowid, text) SELECT id, text {growing}")
                database.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                    raise
                database.execute("INSERT INTO words (words) VALUES ('rebuild')")
            delete = f"INSERT INTO words (words, rowid, text) SELECT 'delete', id, text {growing}"
            database.execute(delete)
        return problems

    def _unreadable(self) -> list[str]:
        """Return a line for each row that is valid for SQLite but not for hermes."""
        problems = []
        for (number,) in self._rows("SELECT id FROM conversations"):
            try:
                self.conversation(number)
                self.tree(number)
            except StoreDamaged as error:
                problems.append(error.message)
        for (number,) in self._rows("SELECT id FROM messages WHERE parent >= id"):
            problems.append(f"message {number} comes before its parent")
        return problems


def _delete(database: sqlite3.Connection, conversations: Sequence[int]) -> int:
    """Delete conversations with their messages, and return the number of deleted conversations."""
    marks = ", ".join("?" * len(conversations))
    # Detach the messages first: SQLite limits a cascade along a chain of parents to 1,000 levels.
    detach = f"UPDATE messages SET parent = NULL WHERE conversation IN ({marks})"  # noqa: S608
    database.execute(detach, tuple(conversations))
    query = f"DELETE FROM conversations WHERE id IN ({marks})"  # noqa: S608 - only question marks
    return database.execute(query, tuple(conversations)).rowcount


def _require_one_row(cursor: sqlite3.Cursor) -> None:
    """Raise StoreError unless a statement changed exactly one row."""
    if cursor.rowcount != 1:
        raise StoreError("this conversation was removed in another window", "'/new' starts another")


def title_of(text: str) -> str:
    """Return a title for a conversation that begins with `text`: its first words on one line."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}…"
