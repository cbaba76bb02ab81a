"""Adds conversations from another source to the store, while other processes can write to it."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Final, TypeVar

from hermes_cli.errors import StoreError
from hermes_cli.store.database import transaction
from hermes_cli.store.locks import ConversationLocks
from hermes_cli.store.queries import Queries
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.rows import ADD_MESSAGE, generation_row, opening_text, settings_text
from hermes_cli.tree import MessageState, Node

T = TypeVar("T")
IMPORT: Final = 0
"""The number of the lock of an import. No conversation has this id."""
TRANSACTION_ROWS: Final = 1000
"""The maximum number of rows in a transaction of an import."""
TRANSACTION_S: Final = 0.1
"""The time after which a transaction of an import is committed."""
PAUSE_S: Final = 0.11
"""The time between two transactions of an import. SQLite waits at most 0.1 s between two attempts to lock the
database, so that another process succeeds in the next pause."""
MERGE_PAGES: Final = 64
"""The pages of the search index that are merged in one step."""


class Imports(Queries):
    """The methods of a store that import conversations."""

    locks: ConversationLocks

    def imported_as(self, key: str) -> int | None:
        """Return the id under which messages with this `content_hash` were imported before, or None.

        It is found even if it was renamed or continued since.
        """
        query = (
            "SELECT id FROM conversations WHERE import_hash = ? AND import_hash <> '' AND is_importing = 0 "
            "ORDER BY id LIMIT 1"
        )
        found = self._rows(query, key)
        return int(found[0][0]) if found else None

    def adopt(self, trees: Iterable[tuple[StoredConversation, Sequence[Node]]]) -> list[int]:
        """Add conversations from another source, either all or none, and return their new ids.

        Message ids must be unique within a tree, and are replaced. A parent must come before its children. A
        time of 0 is replaced by the current time. The state of an unfinished answer becomes STOPPED.

        Other processes can write meanwhile. They see the conversations when all of them are complete; if this
        process is killed before, `remove_unfinished` removes them. Raises StoreError if another process
        imports, too.
        """
        if not self.locks.acquire(IMPORT):
            raise StoreError("another window is importing conversations", "try again when it has finished")
        try:
            self._remove_importing()
            numbers, group, count = list[int](), list[tuple[StoredConversation, Sequence[Node]]](), 0
            for tree in trees:  # not read within a transaction, because that may take long
                group.append(tree)
                count += 1 + len(tree[1])
                if count >= TRANSACTION_ROWS:
                    numbers += self._adopt(group)
                    group, count = [], 0
            numbers += self._adopt(group)
            with transaction(self._connection, self.file) as database:
                database.execute("UPDATE conversations SET is_importing = 0 WHERE is_importing")
        except BaseException:
            with suppress(StoreError):
                self._remove_importing()
            raise
        finally:
            self.locks.drop(IMPORT)
        return numbers

    def _adopt(self, group: Iterable[tuple[StoredConversation, Sequence[Node]]]) -> list[int]:
        """Add conversations that other processes do not see yet, and return their ids."""
        numbers = dict[int, None]()
        rows = (
            row for tree in group for row in insert_conversation(self._connection, *tree, is_importing=True)
        )
        for batch in self._short_transactions(rows):
            numbers |= dict.fromkeys(batch)
        return list(numbers)

    def _short_transactions(self, changes: Iterator[T]) -> Iterator[list[T]]:
        """Make changes in transactions that are short enough for other processes to write in between.

        `changes` changes a row or a few before it yields. Yield the results of each transaction.
        """
        is_over = False
        while not is_over:
            results, end = list[T](), time.monotonic() + TRANSACTION_S
            with transaction(self._connection, self.file):
                for result in islice(changes, TRANSACTION_ROWS):
                    results.append(result)
                    if time.monotonic() > end:
                        break
                else:
                    is_over = len(results) < TRANSACTION_ROWS
            yield results
            if self.file is not None:
                time.sleep(PAUSE_S)

    def remove_unfinished(self) -> int:
        """Remove what a killed import left, and return its number of conversations."""
        if not self._rows("SELECT 1 FROM conversations WHERE is_importing LIMIT 1"):
            return 0
        if not self.locks.acquire(IMPORT):  # it is not killed
            return 0
        try:
            return self._remove_importing()
        finally:
            self.locks.drop(IMPORT)

    def _remove_importing(self) -> int:
        """Remove the conversations of an unfinished import, and return their number."""
        numbers = self._rows("SELECT id FROM conversations WHERE is_importing")
        if not numbers:
            return 0
        query = (
            "SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation WHERE c.is_importing "
            "ORDER BY m.id DESC"  # children first, so that no removal cascades
        )
        execute, ids = self._connection.execute, self._rows(query)
        removals = (execute("DELETE FROM messages WHERE id = ?", number) for number in ids)
        conversations = (execute("DELETE FROM conversations WHERE id = ?", number) for number in numbers)
        for _ in self._short_transactions(chain(removals, conversations, self._merges())):
            pass
        return len(numbers)

    def _merges(self) -> Iterator[None]:
        """Merge the segments of the search index step by step, with the result of 'optimize'.

        SQLite before 3.42 keeps deleted words in the search index until its segments are merged.
        """
        pages, before = -MERGE_PAGES, self._connection.total_changes
        while True:
            self._connection.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
            if self._connection.total_changes - before < 2:  # noqa: PLR2004 - see sqlite.org/fts5.html
                return
            pages, before = MERGE_PAGES, self._connection.total_changes
            yield


def content_hash(conversation: StoredConversation, messages: Sequence[Node]) -> str:
    """Return a hash of the texts of a conversation and of the shape of its tree."""
    digest = hashlib.sha256(opening_text(conversation.opening).encode("utf-8", "surrogatepass"))
    numbers = {message.id: number for number, message in enumerate(messages)}
    for message in messages:
        parent = None if message.parent is None else numbers[message.parent]
        speaker = [message.speaker] if message.speaker else []
        digest.update(json.dumps([parent, message.role, message.text, *speaker]).encode())
    return digest.hexdigest()


def insert_conversation(
    database: sqlite3.Connection,
    conversation: StoredConversation,
    messages: Sequence[Node],
    *,
    is_importing: bool = False,
) -> Iterator[int]:
    """Add a conversation row by row. Yield its id after each row, so that the caller can commit."""
    now = time.time()
    facts = (conversation.title, conversation.is_named, conversation.persona)
    times = (conversation.created or now, min(conversation.updated or now, now))
    import_hash = content_hash(conversation, messages) if is_importing else ""
    cursor = database.execute(
        "INSERT INTO conversations (title, is_named, persona, opening, created, updated, is_importing, "
        "import_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*facts, opening_text(conversation.opening), *times, is_importing, import_hash),
    )
    number, ids = int(cursor.lastrowid or 0), dict[int, int]()
    yield number
    for message in messages:
        state = MessageState.STOPPED if message.state is MessageState.PARTIAL else message.state
        parent = None if message.parent is None else ids[message.parent]
        row = (number, parent, message.role, message.text, state, message.created or now)
        ids[message.id] = int(
            database.execute(
                ADD_MESSAGE,
                (*row, *generation_row(message.generation), message.is_hidden, message.speaker),
            ).lastrowid
            or 0
        )
        yield number
    setting = settings_text(conversation.setting.renumbered(ids))
    query = "UPDATE conversations SET leaf = ?, setting = ? WHERE id = ?"
    leaf = None if conversation.leaf is None else ids[conversation.leaf]
    database.execute(query, (leaf, setting, number))
    yield number
