"""The read-only queries of the store.

All methods raise StoreError, and StoreDamaged if a row is invalid.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hermes_cli.store.database import explained
from hermes_cli.store.records import SearchHit, StoredConversation
from hermes_cli.store.rows import (
    CONVERSATION,
    MESSAGE,
    conversation_of,
    hit_of,
    id_and_title,
    message_of,
)
from hermes_cli.tree import MessageState, Node

SNIPPET_LENGTH: Final = 4_000
"""The longest text in characters for which SQLite chooses the excerpt, in quadratic time."""
EXCERPT_LENGTH: Final = 80
"""The length in characters of an excerpt of a longer text."""


class Queries:
    """The methods of a store that only read. They leave out the conversations of an unfinished import."""

    file: Path | None
    _connection: sqlite3.Connection

    def tree(self, conversation: int) -> list[Node]:
        """Return all messages of a conversation, parents before their children, older siblings first."""
        query = f"SELECT {MESSAGE} FROM messages WHERE conversation = ? ORDER BY id"  # noqa: S608
        return [message_of(row) for row in self._rows(query, conversation)]

    def path(self, leaf: int | None) -> list[Node]:
        """Return the messages from the root to `leaf`; none if it is None."""
        if leaf is None:
            return []
        path = (
            "WITH RECURSIVE path (id, depth) AS (VALUES (?, 0) UNION ALL "
            "SELECT m.parent, depth + 1 FROM messages m JOIN path USING (id) WHERE m.parent < m.id) "
        )
        query = f"SELECT {MESSAGE} FROM messages JOIN path USING (id) ORDER BY depth DESC"  # noqa: S608
        return [message_of(row) for row in self._rows(path + query, leaf)]

    def conversation(self, number: int) -> StoredConversation | None:
        """Return the conversation with this id, or None."""
        query = f"SELECT {CONVERSATION} FROM conversations c WHERE c.id = ? AND c.is_importing = 0"  # noqa: S608 - constants
        return next((conversation_of(row) for row in self._rows(query, number)), None)

    def conversations(self, limit: int = -1, *, visible: bool = False) -> list[StoredConversation]:
        """Return the most recently used conversations, newest first. A negative limit returns all.

        With `visible`, leave out those without a visible message.
        """
        where = f"c.is_importing = 0 {'AND c.leaf IS NOT NULL' if visible else ''}"
        order = "ORDER BY c.updated DESC, c.id DESC LIMIT ?"
        query = f"SELECT {CONVERSATION} FROM conversations c WHERE {where} {order}"  # noqa: S608 - constants
        return [conversation_of(row) for row in self._rows(query, limit)]

    def message_count(self) -> int:
        """Return the number of messages of all conversations, visible or not."""
        query = (
            "SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation "
            "WHERE c.is_importing = 0"
        )
        return int(self._rows(query)[0][0])

    def turns(self) -> Iterator[tuple[int, str, str]]:
        """Yield the conversation, the role and the text of every message, ordered by conversation."""
        query = (
            "SELECT m.conversation, m.role, m.text "
            "FROM messages m JOIN conversations c ON c.id = m.conversation "
            "WHERE c.is_importing = 0 ORDER BY m.conversation"
        )
        with explained(self.file):
            yield from self._connection.execute(query)

    def named(self, name: str) -> list[StoredConversation]:
        """Return the conversations that match `name`: by id, by title, or else by the start of the title."""
        if name.isdecimal() and len(name) < 19 and (found := self.conversation(int(name))):  # noqa: PLR2004
            return [found]
        folded_name, exact, partial = name.casefold(), list[int](), list[int]()
        query = "SELECT id, title FROM conversations c WHERE c.is_importing = 0 ORDER BY updated DESC"
        for number, title in map(id_and_title, self._rows(query)):
            folded = title.casefold()  # SQLite's lower() handles only ASCII
            if folded == folded_name:
                exact.append(number)
            elif folded.startswith(folded_name):
                partial.append(number)
        conversations = map(self.conversation, exact or partial)
        return [conversation for conversation in conversations if conversation is not None]

    def search(self, text: str, limit: int = 50) -> list[SearchHit]:
        """Return the messages with all words of `text`, best match first. Operators are not supported."""
        words = " ".join(f'"{word}"' for word in text.replace('"', " ").replace("\0", " ").split())
        if not words:
            return []
        query = (
            "SELECT m.conversation, c.title, m.id, m.role, CASE WHEN length(m.text) <= ? "
            "THEN snippet(words, 0, '', '', '…', 12) "
            "ELSE '…' || substr(m.text, max(1, instr(lower(m.text), lower(?)) - ?), ?) || '…' END, "
            "m.created, m.model "
            "FROM words JOIN messages m ON m.id = words.rowid JOIN conversations c ON c.id = m.conversation "
            "WHERE words MATCH ? AND c.is_importing = 0 ORDER BY rank LIMIT ?"
        )
        first = words[1:].partition('"')[0]
        values = (SNIPPET_LENGTH, first, EXCERPT_LENGTH // 2, EXCERPT_LENGTH, words, limit)
        return [hit_of(row) for row in self._rows(query, *values)]

    def growing(self, parent: int) -> int | None:
        """Return the id of the unfinished answer under a message, or None."""
        query = "SELECT id FROM messages WHERE parent = ? AND state = ? ORDER BY id DESC LIMIT 1"
        return next((number for (number,) in self._rows(query, parent, MessageState.PARTIAL)), None)

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with explained(self.file):
            return self._connection.execute(query, values).fetchall()
