"""The store: conversations as trees. Adding is all that happens to them; moving about deletes nothing.

Every method that writes is one transaction, on the disk when it returns. Raises StoreError throughout.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Role
from hermes_cli.store.claims import CLAIMS, Claims
from hermes_cli.store.database import connect, explained, transaction
from hermes_cli.store.records import Hit, Made, State, StoredConversation, StoredMessage
from hermes_cli.store.rows import (
    ADD_MESSAGE,
    CONVERSATION,
    MESSAGE,
    conversation_of,
    made_row,
    message_of,
    opening_text,
)

TITLE_LENGTH = 60


class Store:
    """One database. A process has one; several processes may have the same file open.

    Without a file it is in memory: for a conversation that leaves no trace.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.claims = Claims(file.with_name(CLAIMS) if file else None)
        self._connection = connect(file)

    def close(self) -> None:
        """Let go of the file and of what was claimed. Calling it twice is harmless."""
        self._connection.close()
        self.claims.release()

    # Writing

    def begin(self, opening: Sequence[Message], persona: str) -> int:
        """Return the id of a new conversation."""
        now = time.time()
        with transaction(self._connection, self.file) as database:
            cursor = database.execute(
                "INSERT INTO conversations (opening, persona, created, updated) VALUES (?, ?, ?, ?)",
                (opening_text(opening), persona, now, now),
            )
            return int(cursor.lastrowid or 0)

    def add(
        self,
        conversation: int,
        parent: int | None,
        message: Message,
        state: State = State.COMPLETE,
        made: Made | None = None,
    ) -> int:
        """Add a message under another one, make it where the conversation stands, and return its id."""
        now = time.time()
        with transaction(self._connection, self.file) as database:
            if parent is not None:
                self._require(database, conversation, parent)
            cursor = database.execute(
                ADD_MESSAGE,
                (conversation, parent, message.role, message.text, state, now, *made_row(made or Made())),
            )
            number = int(cursor.lastrowid or 0)
            database.execute(
                "UPDATE conversations SET leaf = ?, updated = ?, "
                "title = CASE WHEN title = '' AND ? = 'user' THEN ? ELSE title END WHERE id = ?",
                (number, now, message.role, title_of(message.text), conversation),
            )
            return number

    def grow(self, message: int, text: str) -> None:
        """Write down how far a reply has come."""
        with transaction(self._connection, self.file) as database:
            database.execute("UPDATE messages SET text = ? WHERE id = ?", (text, message))

    def end(self, message: int, text: str, state: State, made: Made) -> None:
        """Write down how a reply ended."""
        names = ", ".join(f"{name} = ?" for name in MESSAGE.split(", ")[7:])
        with transaction(self._connection, self.file) as database:
            database.execute(
                f"UPDATE messages SET text = ?, state = ?, {names} WHERE id = ?",  # noqa: S608 - constants alone
                (text, state, *made_row(made), message),
            )
            database.execute(
                "UPDATE conversations SET updated = ? "
                "WHERE id = (SELECT conversation FROM messages WHERE id = ?)",
                (time.time(), message),
            )

    def move(self, conversation: int, leaf: int | None) -> None:
        """Make a message where the conversation stands; None for before its first."""
        with transaction(self._connection, self.file) as database:
            if leaf is not None:
                self._require(database, conversation, leaf)
            database.execute("UPDATE conversations SET leaf = ? WHERE id = ?", (leaf, conversation))

    def set_opening(self, conversation: int, opening: Sequence[Message]) -> None:
        """Change what goes before the tree, as with another system prompt."""
        with transaction(self._connection, self.file) as database:
            database.execute(
                "UPDATE conversations SET opening = ? WHERE id = ?", (opening_text(opening), conversation)
            )

    def rename(self, conversation: int, title: str) -> None:
        """Give a conversation a name of the person's own."""
        with transaction(self._connection, self.file) as database:
            database.execute(
                "UPDATE conversations SET title = ?, is_named = 1 WHERE id = ?", (title, conversation)
            )

    def remove(self, conversations: Sequence[int]) -> int:
        """Delete conversations, so that no word of theirs is left in the file, and return their number."""
        marks = ", ".join("?" * len(conversations))
        with transaction(self._connection, self.file) as database:
            query = f"DELETE FROM conversations WHERE id IN ({marks})"  # noqa: S608 - question marks alone
            cursor = database.execute(query, tuple(conversations))
            # SQLite before 3.42 keeps deleted words in the index's segments until they are merged.
            database.execute("INSERT INTO words (words) VALUES ('optimize')")
        with explained(self.file):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return cursor.rowcount

    def fork(self, conversation: int, path: Sequence[int], title: str) -> int:
        """Return the id of a new conversation that begins as `path` of another one does."""
        now = time.time()
        copied = MESSAGE.partition("conversation, parent, ")[2]
        with transaction(self._connection, self.file) as database:
            cursor = database.execute(
                "INSERT INTO conversations (title, is_named, persona, opening, created, updated) "
                "SELECT ?, 1, persona, opening, ?, ? FROM conversations WHERE id = ?",
                (title, now, now, conversation),
            )
            number, parent = int(cursor.lastrowid or 0), None
            for message in path:
                self._require(database, conversation, message)
                query = f"INSERT INTO messages (conversation, parent, {copied}) SELECT ?, ?, {copied} FROM messages WHERE id = ?"  # noqa: S608, E501
                parent = database.execute(query, (number, parent, message)).lastrowid
            database.execute("UPDATE conversations SET leaf = ? WHERE id = ?", (parent, number))
            return number

    def adopt(self, trees: Iterable[tuple[StoredConversation, Sequence[StoredMessage]]]) -> list[int]:
        """Add whole conversations that come from elsewhere, all or none, and return their ids.

        The ids that they bring hold among the messages of one tree alone, where a parent stands before its
        children; here they get others. A time of 0 is one that nobody knows, and becomes now. A reply that
        was still growing somewhere else was stopped, as nobody goes on with it here.
        """
        with transaction(self._connection, self.file) as database:
            return [self._adopt(database, *tree) for tree in trees]

    @staticmethod
    def _adopt(
        database: sqlite3.Connection, conversation: StoredConversation, messages: Sequence[StoredMessage]
    ) -> int:
        now = time.time()
        facts = (conversation.title, conversation.is_named, conversation.persona)
        times = (conversation.created or now, conversation.updated or now)
        cursor = database.execute(
            "INSERT INTO conversations (title, is_named, persona, opening, created, updated) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (*facts, opening_text(conversation.opening), *times),
        )
        number, ids = int(cursor.lastrowid or 0), dict[int | None, int | None]({None: None})
        for one in messages:
            state = State.STOPPED if one.state is State.PARTIAL else one.state
            row = (number, ids[one.parent], one.role, one.text, state, one.created or now)
            ids[one.id] = database.execute(ADD_MESSAGE, (*row, *made_row(one.made))).lastrowid
        query = "UPDATE conversations SET leaf = ? WHERE id = ?"
        database.execute(query, (ids[conversation.leaf], number))
        return number

    def stop_partial(self, conversation: int) -> int:
        """Mark replies that nobody writes any more as stopped, and return how many there were."""
        with transaction(self._connection, self.file) as database:
            cursor = database.execute(
                "UPDATE messages SET state = ? WHERE conversation = ? AND state = ?",
                (State.STOPPED, conversation, State.PARTIAL),
            )
            return cursor.rowcount

    @staticmethod
    def _require(database: sqlite3.Connection, conversation: int, message: int) -> None:
        row = database.execute("SELECT conversation FROM messages WHERE id = ?", (message,)).fetchone()
        if row is None or row[0] != conversation:
            raise StoreError(
                f"conversation {conversation} has no message {message}", "/tree shows those it has"
            )

    # Reading

    def message(self, number: int) -> StoredMessage | None:
        """Return a message by its id."""
        rows = self._rows(f"SELECT {MESSAGE} FROM messages WHERE id = ?", number)  # noqa: S608 - constants alone
        return next((message_of(row) for row in rows), None)

    def tree(self, conversation: int) -> list[StoredMessage]:
        """Return all messages of a conversation, parents before their children, siblings by age."""
        query = f"SELECT {MESSAGE} FROM messages WHERE conversation = ? ORDER BY id"  # noqa: S608
        return [message_of(row) for row in self._rows(query, conversation)]

    def path(self, leaf: int | None) -> list[StoredMessage]:
        """Return the messages from the root to `leaf`."""
        if leaf is None:
            return []
        path = (
            "WITH RECURSIVE path (id, depth) AS (VALUES (?, 0) UNION ALL "
            "SELECT m.parent, depth + 1 FROM messages m JOIN path USING (id) WHERE m.parent IS NOT NULL) "
        )
        query = f"SELECT {MESSAGE} FROM messages JOIN path USING (id) ORDER BY depth DESC"  # noqa: S608
        return [message_of(row) for row in self._rows(path + query, leaf)]

    def children(self, conversation: int, parent: int | None) -> list[int]:
        """Return the ids of the messages under another one, oldest first; under None the roots."""
        query = "SELECT id FROM messages WHERE conversation = ? AND parent IS ? ORDER BY id"
        return [number for (number,) in self._rows(query, conversation, parent)]

    def conversation(self, number: int) -> StoredConversation | None:
        """Return a conversation by its id."""
        query = f"SELECT {CONVERSATION} FROM conversations c WHERE c.id = ?"  # noqa: S608 - constants alone
        return next((conversation_of(row) for row in self._rows(query, number)), None)

    def conversations(self, limit: int = -1) -> list[StoredConversation]:
        """Return the conversations, the one that was used last first."""
        query = f"SELECT {CONVERSATION} FROM conversations c ORDER BY c.updated DESC, c.id DESC LIMIT ?"  # noqa: S608
        return [conversation_of(row) for row in self._rows(query, limit)]

    def named(self, name: str) -> list[StoredConversation]:
        """Return the conversations that a person may mean: by id, by the whole title, or by its beginning."""
        if name.isdecimal() and len(name) < 19 and (found := self.conversation(int(name))):  # noqa: PLR2004
            return [found]
        query = (
            f"SELECT {CONVERSATION} FROM conversations c WHERE lower(c.title) = lower(?1) "  # noqa: S608
            "OR substr(lower(c.title), 1, length(?1)) = lower(?1) ORDER BY lower(c.title) <> lower(?1), "
            "c.updated DESC"
        )
        found_rows = [conversation_of(row) for row in self._rows(query, name)]
        whole = [row for row in found_rows if row.title.lower() == name.lower()]
        return whole or found_rows

    def search(self, text: str, limit: int = 50) -> list[Hit]:
        """Return the messages that hold all words of `text`, the best first. No word is an operator."""
        words = " ".join(f'"{word}"' for word in text.replace('"', " ").replace("\0", " ").split())
        if not words:
            return []
        query = (
            "SELECT m.conversation, c.title, m.id, m.role, snippet(words, 0, '', '', '…', 12), "
            "m.created, m.model "
            "FROM words JOIN messages m ON m.id = words.rowid JOIN conversations c ON c.id = m.conversation "
            "WHERE words MATCH ? ORDER BY rank LIMIT ?"
        )
        return [
            Hit(conversation, title, number, Role(role), *rest)
            for conversation, title, number, role, *rest in self._rows(query, words, limit)
        ]

    def check(self) -> list[str]:
        """Return what is wrong with the file, a line each. A word index that is out of step is put right."""
        problems = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
        for table, _, owner, _ in self._rows("PRAGMA foreign_key_check"):
            problems.append(f"a row of {table} belongs to none of {owner}")
        growing = "FROM messages WHERE state = 'partial'"  # SQLite wants them in the index, hermes does not
        with transaction(self._connection, self.file) as database:
            try:
                database.execute(f"INSERT INTO words (rowid, text) SELECT id, text {growing}")
                database.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                    raise
                database.execute("INSERT INTO words (words) VALUES ('rebuild')")
            take_out = f"INSERT INTO words (words, rowid, text) SELECT 'delete', id, text {growing}"
            database.execute(take_out)
        return problems

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with explained(self.file):
            yield from self._connection.execute(query, values)


def title_of(text: str) -> str:
    """Return a title for a conversation that begins with `text`: its first words, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}…"
