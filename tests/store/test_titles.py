"""Tests of the titles that are read without changing the database."""

from pathlib import Path

import pytest

from hermes_cli.errors import StoreError
from hermes_cli.store.titles import recent_titles
from tests.database import OpenStore, raw_database


def test_the_last_conversations_come_first(tmp_path: Path, open_store: OpenStore) -> None:
    """Those of an unfinished import are left out. The file is not changed, although a process has it open."""
    file = tmp_path / "folder" / "conversations.db"
    store = open_store(file)
    for number in range(4):
        store.begin((), "", title=f"number {number}")
    with raw_database(file) as database:
        database.execute("UPDATE conversations SET is_importing = 1 WHERE title = 'number 3'")
    before = file.read_bytes()
    assert list(recent_titles(file, 2).items()) == [(3, "number 2"), (2, "number 1")]
    assert file.read_bytes() == before


def test_a_file_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    """Nor is a folder opened."""
    assert recent_titles(tmp_path / "missing.db", 5) == {}
    assert recent_titles(tmp_path, 5) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    """It stays as it is."""
    file = tmp_path / "conversations.db"
    file.write_text("no database" * 100)
    with pytest.raises(StoreError):
        recent_titles(file, 5)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
