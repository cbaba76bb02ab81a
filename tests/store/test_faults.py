"""Tests of failures beneath the store: each is raised as a StoreError, and kept data stays."""

import io
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.persona import Persona
from hermes_cli.repl import state as repl
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.commands import tree
from hermes_cli.repl.state import Host
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store import schema
from hermes_cli.store.locks import ConversationLocks
from hermes_cli.tree import GenerationRecord, MessageState
from tests.database import OpenStore, raw_database
from torture.checks import damage


@contextmanager
def limited_file_size(size: int) -> Iterator[None]:
    """Limit the files of this process to `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_lock_folder_that_cannot_be_created_is_a_store_error(tmp_path: Path) -> None:
    """If the folder of the locks cannot be created, a StoreError names it."""
    (tmp_path / "claims").write_text("in the way")
    with pytest.raises(StoreError, match="claims"):
        ConversationLocks(tmp_path / "claims").acquire(1)


def test_a_lock_without_a_file_descriptor_is_a_store_error(tmp_path: Path) -> None:
    """Without a free file descriptor a lock fails with "Too many open files"."""
    code = (
        "import resource, sys; from pathlib import Path; from hermes_cli.errors import StoreError;"
        "from hermes_cli.store.locks import ConversationLocks;"
        "c = ConversationLocks(Path(sys.argv[1])); c.acquire(1);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try: c.acquire(2)\n"
        "except StoreError as error: print(error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "claims")], capture_output=True, text=True, check=True
    )
    assert "Too many open files" in done.stdout


def test_a_lock_is_released_even_if_closing_its_file_fails(tmp_path: Path) -> None:
    """`release` ignores an error of closing, and the lock is free afterwards."""
    locks = ConversationLocks(tmp_path)
    locks.acquire(1)
    os.close(locks._held[1])
    locks.release()
    assert ConversationLocks(tmp_path).acquire(1)


def test_a_conversation_that_cannot_be_locked_is_reported_and_not_kept(
    tmp_path: Path, open_store: OpenStore
) -> None:
    """If a conversation cannot be locked, one error is reported, the chat goes on and nothing is kept."""
    (tmp_path / "claims").write_text("in the way")
    store, errors = open_store(tmp_path / "conversations.db"), list[StoreError]()
    with closing(Recorder(store, errors.append)) as recorder:
        session = Session(ScriptedEngine(["A"]), [Member()], LayeredOptions(GenerationOptions()), recorder)
        assert "".join(chunk.text for chunk in session.send("1", Cancel())) == "A"
    assert ([error.exit_code for error in errors], store.conversations()) == ([75], [])


def test_a_failed_migration_raises_the_error_of_sqlite() -> None:
    """A migration that SQLite itself rolled back raises SQLite's error, and the version stays 0."""
    insert = "INSERT INTO x VALUES (1);"
    step = f"CREATE TABLE x (a UNIQUE ON CONFLICT ROLLBACK);\n{insert}\n{insert}"
    with raw_database(Path(":memory:")) as connection:
        with pytest.raises(sqlite3.IntegrityError):
            schema.migrate(connection, (step,))
        assert schema.version_of(connection) == 0


@pytest.mark.parametrize("free_pages", [0, 1, 2, 3, 4, 6, 9, 15])
def test_a_full_disk_is_reported_once_and_loses_no_question(
    tmp_path: Path, free_pages: int, open_store: OpenStore
) -> None:
    """A full disk is reported once, the chat goes on, and all questions sent before are in the file."""
    file = tmp_path / "conversations.db"
    store, errors = open_store(file), list[StoreError]()
    questions, limit = list[str](), file.stat().st_size + free_pages * 4096
    with closing(Recorder(store, errors.append)) as recorder, limited_file_size(limit):
        session = Session(
            ScriptedEngine(["word " * 200] * 30, 100_000),
            [Member()],
            LayeredOptions(GenerationOptions()),
            recorder,
        )
        for number in range(30):
            stream = session.send(f"question {number}", Cancel())
            next(stream)
            questions += [] if errors else [f"question {number}"]
            for _ in stream:
                pass
    assert len(errors) == 1
    assert len(session.conversation) == 60
    store.close()
    after = open_store(file)
    kept = [message.text for conversation in after.conversations() for message in after.tree(conversation.id)]
    assert [text for text in kept if text.startswith("question")][: len(questions)] == questions
    number = after.begin([], "")
    after.add(number, None, Message(Role.USER, "there is room again"))
    assert len(after.search("room again")) == 1
    with raw_database(file) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("damages_index", [False, True])
def test_check_leaves_partial_replies_out_of_the_index(
    tmp_path: Path, open_store: OpenStore, *, damages_index: bool
) -> None:
    """Also with a damaged index, `check` leaves an unfinished reply out of the index."""
    file = tmp_path / "conversations.db"
    store = open_store(file)
    number = store.begin([], "")
    question = store.add(number, None, Message(Role.USER, "hello"))
    reply = store.add(number, question, Message(Role.ASSISTANT, "zebra"), MessageState.PARTIAL)
    if damages_index:
        store._connection.execute("DELETE FROM words_docsize")
    for _ in range(2):
        assert store.check() == []
        assert (len(store.search("hello")), len(store.search("zebra"))) == (1, 0)
    store.end(reply, "whole", MessageState.COMPLETE, GenerationRecord())
    assert (len(store.search("whole")), len(store.search("zebra"))) == (1, 0)
    store.close()
    assert damage(file) == []


def test_the_position_of_a_swipe_is_shown_if_the_store_fails(tmp_path: Path, open_store: OpenStore) -> None:
    """If the store fails after an answer, its position among the swipes is still shown."""
    store, stderr = open_store(tmp_path / "conversations.db"), io.StringIO()
    terminal = Terminal(io.BytesIO(), io.BytesIO(), stderr, False, False, False)  # noqa: FBT003 - see tests/run_hermes.py
    session = Session(
        ScriptedEngine(["A", "B"]),
        [Member(Persona("A", "", Path("a.toml")))],
        LayeredOptions(),
        Recorder(store),
    )
    list(session.send("1", Cancel()))

    class Printer(AnswerPrinter):
        def answer(self, state: repl.ReplState, start: repl.StartAnswer, prefix: str = "") -> None:
            super().answer(state, start, prefix)
            store.close()  # all later reads fail

    host, printer = cast("Host", None), Printer(interactive=False)
    state = repl.ReplState(terminal, session, "", host, printer)
    tree.again(state, "")
    assert stderr.getvalue() == "(2 of 2)\n"
