"""The titles of the conversations, read without changing the database or waiting for another process."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from hermes_cli.store.database import explained
from hermes_cli.store.rows import id_and_title

PATIENCE_S: Final = 0.2
"""Seconds to wait while another process writes."""


def recent_titles(file: Path, limit: int) -> dict[int, str]:
    """Map the ids of the most recently used conversations to their titles. Raises StoreError."""
    if not file.is_file():
        return {}
    query = "SELECT id, title FROM conversations WHERE is_importing = 0 ORDER BY updated DESC LIMIT ?"
    address = f"{file.absolute().as_uri()}?mode=ro"
    with explained(file), closing(sqlite3.connect(address, timeout=PATIENCE_S, uri=True)) as connection:
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        return dict(map(id_and_title, connection.execute(query, (limit,))))
