"""The database of conversations in tests: hermes' store, and a bare connection."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hermes_cli.messages import Message
from hermes_cli.store.store import Store
from hermes_cli.tree import Tree

OpenStore = Callable[..., Store]
"""Opens a store as `Store` does; see the fixture `open_store`."""


@contextmanager
def raw_database(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection on which each statement is committed at once; it is closed at the end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def chain(*turns: Message) -> Tree:
    """Return a tree in which each message follows the one before it."""
    tree = Tree()
    for turn in turns:
        tree.append(turn)
    return tree
