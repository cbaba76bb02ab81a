"""`hermes sessions` on conversations that cannot be written: the commands that only read succeed."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.database import raw_database
from tests.run_hermes import hermes, script

Env = Mapping[str, str]
NOBODY = 65534


@pytest.fixture
def locked(home: Env, request: pytest.FixtureRequest) -> Iterator[Env]:
    """A home with a conversation, which the user may read but not write."""
    root = Path(tempfile.mkdtemp())
    env = {**home, "OPENHERMES_HOME": str(root)}
    done = hermes("ask", "--log", "-m", script(root, {"text": "Paris."}), "Which city?", env=env)
    assert done.code == 0, done.stderr
    with raw_database(root / "data" / "conversations.db") as database:
        database.execute(f"PRAGMA journal_mode = {request.param}")
    for path in root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    root.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    yield env
    if os.getuid() == 0:
        os.seteuid(0)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(root)


@pytest.mark.parametrize("locked", ["DELETE", "WAL"], indirect=True)
def test_conversations_that_cannot_be_written_can_be_read(locked: Env) -> None:
    """A change is refused, and nothing is created beside the database."""
    assert b"Which city?" in hermes("sessions", "list", env=locked).stdout
    assert b"Paris." in hermes("sessions", "show", "1", env=locked).stdout
    assert b"city" in hermes("sessions", "search", "which", env=locked).stdout
    assert b"Paris." in hermes("sessions", "export", "1", env=locked).stdout
    assert hermes("sessions", "rename", "1", "x", env=locked).code == 75


@pytest.mark.parametrize("locked", ["DELETE"], indirect=True)
def test_a_log_that_was_not_merged_is_not_ignored(locked: Env) -> None:
    """Without the rows in it, the conversations would be incomplete or inconsistent."""
    file = Path(locked["OPENHERMES_HOME"]) / "data" / "conversations.db"
    if os.getuid() == 0:
        os.seteuid(0)
    file.parent.chmod(0o755)
    file.chmod(0o644)
    with raw_database(file) as database:
        database.execute("PRAGMA journal_mode = WAL")
    file.with_name("conversations.db-wal").write_bytes(b"x" * 5000)
    file.with_name("conversations.db-wal").chmod(0o444)
    file.chmod(0o444)
    file.parent.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    assert hermes("sessions", "list", env=locked).code == 75
