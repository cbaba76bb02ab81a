"""Tests of failures beneath the store: each is raised as a StoreError, and kept data stays."""

import io
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, Sourced
from hermes_cli.personas.persona import Persona
from hermes_cli.repl import state as repl
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.commands import tree
from hermes_cli.repl.host import Host
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store import schema
from hermes_cli.store.locks import ConversationLocks
from hermes_cli.tree import GenerationRecord, MessageState
from tests.database import OpenStore, raw_database
from torture.look import damage


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_claim_that_the_system_refuses_is_a_store_error(tmp_path: Path) -> None:
    """If the claims folder cannot be made, a StoreError names it."""
    (tmp_path / "claims").write_text("in the way")
    with pytest.raises(StoreError, match="claims"):
        ConversationLocks(tmp_path / "claims").take(1)


def test_a_claim_without_descriptors_is_not_somebody_elses(tmp_path: Path) -> None:
    """A claim without a free file descriptor fails with "Too many open files"."""
    code = (
        "import resource, sys; from pathlib import Path; from hermes_cli.errors import StoreError;"
        "from hermes_cli.store.locks import ConversationLocks;"
        "c = ConversationLocks(Path(sys.argv[1])); c.take(1);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try: c.take(2)\n"
        "except StoreError as error: print(error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "claims")], capture_output=True, text=True, check=True
    )
    assert "Too many open files" in done.stdout


def test_a_claim_whose_closing_fails_is_let_go(tmp_path: Path) -> None:
    """`release` ignores an error of closing, and the claim is free afterwards."""
    claims = ConversationLocks(tmp_path)
    claims.take(1)
    os.close(claims._held[1])
    claims.release()
    assert ConversationLocks(tmp_path).take(1)


def test_a_conversation_that_cannot_be_claimed_is_told_and_leaves_nothing(
    tmp_path: Path, open_store: OpenStore
) -> None:
    """If a conversation cannot be claimed, one error is reported, the chat goes on and nothing is kept."""
    (tmp_path / "claims").write_text("in the way")
    store, told = open_store(tmp_path / "conversations.db"), list[StoreError]()
    talk = Session(
        ScriptedEngine(["A"]), Opening(), Sourced(GenerationOptions()), Recorder(store, told.append)
    )
    assert "".join(chunk.text for chunk in talk.send("1", Cancel())) == "A"
    assert ([error.exit_code for error in told], store.conversations()) == ([75], [])


def test_a_fault_is_told_as_itself() -> None:
    """A migration that SQLite itself rolled back raises SQLite's error, and the version stays 0."""
    insert = "INSERT INTO x VALUES (1);"
    step = f"CREATE TABLE x (a UNIQUE ON CONFLICT ROLLBACK);\n{insert}\n{insert}"
    with raw_database(Path(":memory:")) as connection:
        with pytest.raises(sqlite3.IntegrityError):
            schema.migrate(connection, (step,))
        assert schema.version_of(connection) == 0


@pytest.mark.parametrize("room", [0, 1, 2, 3, 4, 6, 9, 15])
def test_a_full_disk_is_told_once_and_takes_nothing(tmp_path: Path, room: int, open_store: OpenStore) -> None:
    """A full disk is reported once, the chat goes on, and all questions sent before are in the file."""
    file = tmp_path / "conversations.db"
    store, told = open_store(file), list[StoreError]()
    asked = list[str]()
    talk = Session(
        ScriptedEngine(["word " * 200] * 30, 100_000),
        Opening(),
        Sourced(GenerationOptions()),
        Recorder(store, told.append),
    )
    with full_at(file.stat().st_size + room * 4096):
        for number in range(30):
            stream = talk.send(f"question {number}", Cancel())
            next(stream)
            asked += [] if told else [f"question {number}"]
            for _ in stream:
                pass
    assert len(told) == 1
    assert len(talk.conversation) == 60
    store.close()
    after = open_store(file)
    kept = [message.text for one in after.conversations() for message in after.tree(one.id)]
    assert [text for text in kept if text.startswith("question")][: len(asked)] == asked
    number = after.begin([], "")
    after.add(number, None, Message(Role.USER, "there is room again"))
    assert len(after.search("room again")) == 1
    with raw_database(file) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("breaks", [False, True])
def test_a_check_leaves_growing_replies_out_of_the_index(
    tmp_path: Path, open_store: OpenStore, *, breaks: bool
) -> None:
    """Also with a damaged index, `check` leaves an unfinished reply out of the index."""
    file = tmp_path / "conversations.db"
    store = open_store(file)
    number = store.begin([], "")
    asked = store.add(number, None, Message(Role.USER, "hello"))
    reply = store.add(number, asked, Message(Role.ASSISTANT, "zebra"), MessageState.PARTIAL)
    if breaks:
        store._connection.execute("DELETE FROM words_docsize")
    for _ in range(2):
        assert store.check() == []
        assert (len(store.search("hello")), len(store.search("zebra"))) == (1, 0)
    store.end(reply, "whole", MessageState.COMPLETE, GenerationRecord())
    assert (len(store.search("whole")), len(store.search("zebra"))) == (1, 0)
    store.close()
    assert damage(file) == []


def test_the_swipes_are_counted_without_the_store(tmp_path: Path, open_store: OpenStore) -> None:
    """If the store fails after an answer, its position among the swipes is still shown."""
    store, said = open_store(tmp_path / "conversations.db"), io.StringIO()
    terminal = Terminal(io.BytesIO(), io.BytesIO(), said, False, False, False)  # noqa: FBT003 - see tests/run_hermes.py
    talk = Session(ScriptedEngine(["A", "B"]), Opening(), Sourced(), Recorder(store))
    list(talk.send("1", Cancel()))

    class Printer(AnswerPrinter):
        def answer(self, state: repl.ReplState, begin: repl.Answering, prefix: str = "") -> None:
            super().answer(state, begin, prefix)
            store.close()  # all later reads fail

    host, printer = cast("Host", None), Printer(interactive=False)
    state = repl.ReplState(terminal, talk, Persona("A", "", Path("a.toml")), "", host, printer)
    tree.again(state, "")
    assert said.getvalue() == "(2 of 2)\n"
