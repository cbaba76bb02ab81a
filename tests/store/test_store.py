"""Tests of the store: added messages are kept, whatever is moved, deleted or interrupted."""

import errno
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Role, TurnIds
from hermes_cli.store import imports, schema
from hermes_cli.store.database import connect, explained
from hermes_cli.store.locks import ConversationLocks
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store, title_of
from hermes_cli.tree import GenerationRecord, MessageState, Node
from tests.database import OpenStore, chain, raw_database

USER, ASSISTANT = Role.USER, Role.ASSISTANT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a database in a folder that does not exist yet."""
    return tmp_path / "data" / "conversations.db"


def test_a_reopened_store_has_the_same_conversation(file: Path, open_store: OpenStore) -> None:
    """A reopened store has the same opening, persona, texts, states, token ids and measurements."""
    store = open_store(file)
    opening = (Message(Role.SYSTEM, "Be “brief”.\n"), Message(USER, "a"))
    number = store.begin(opening, "edward-elric")
    question = store.add(number, None, Message(USER, "  Grüße\x00 🚢 \r\n"))
    reply = store.add(number, question, Message(ASSISTANT, ""), MessageState.PARTIAL)
    store.grow(reply, "He")
    made = GenerationRecord(
        "m", "bf16", {"seed": 1, "stop": ["x"]}, 10, 5, 3, 0.5, 1.5, TurnIds("v", (0, 7, 2**32 - 1))
    )
    store.end(reply, "Hello", MessageState.COMPLETE, made)
    store.close()
    again = open_store(file)
    (conversation,) = again.conversations()
    assert (conversation.opening, conversation.persona, conversation.leaf, conversation.message_count) == (
        opening,
        "edward-elric",
        reply,
        2,
    )
    assert [(m.role, m.text) for m in again.path(conversation.leaf)] == [
        (USER, "  Grüße\x00 🚢 \r\n"),
        (ASSISTANT, "Hello"),
    ]
    assert again.path(conversation.leaf)[1].generation == made
    assert again.path(conversation.leaf)[1].message.turn_ids == made.turn_ids


def test_the_model_of_a_conversation_is_that_of_its_last_answer(file: Path, open_store: OpenStore) -> None:
    """The model of a conversation is that of its last answer, also if a user turn follows."""
    store = open_store(file)
    number = store.begin([], "")
    question = store.add(number, None, Message(USER, "a"))
    for name in ("first", "second"):
        reply = store.add(number, question, Message(ASSISTANT, ""), MessageState.PARTIAL)
        store.end(reply, "b", MessageState.COMPLETE, GenerationRecord(name))
    store.add(number, reply, Message(USER, "c"))
    (conversation,) = store.conversations()
    assert conversation.model == "second"


def test_only_the_owner_can_read_the_database(file: Path, open_store: OpenStore) -> None:
    """The file has mode 0600 and its folder 0700, whatever the umask."""
    before = os.umask(0)
    try:
        open_store(file).begin([], "")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_words_of_removed_conversations_are_in_no_file(file: Path, open_store: OpenStore) -> None:
    """The words of removed conversations are in no file of the folder, and others can still be searched."""
    store = open_store(file)
    numbers = []
    for n in range(40):
        numbers.append(store.begin([], ""))
        store.add(numbers[-1], None, Message(USER, f"xylophone{n} secretly marmalade {'pad ' * 500}"))
    kept = store.begin([], "")
    store.add(kept, None, Message(USER, "ordinary"))
    assert store.remove(numbers) == 40
    data = b"".join(p.read_bytes() for p in file.parent.iterdir() if p.is_file()).lower()
    assert not [word for word in (b"xylophone", b"marmalade", b"secretly") if word in data]
    assert [hit.message for hit in store.search("ordinary")]


def test_a_search_takes_any_text_as_words(file: Path, open_store: OpenStore) -> None:
    """A search takes any text as words, ignores case, and finds only the final text of finished replies."""
    store = open_store(file)
    number = store.begin([], "")
    question = store.add(number, None, Message(USER, 'The AND of "Müller" NEAR the sea'))
    growing = store.add(number, question, Message(ASSISTANT, "unfinished"), MessageState.PARTIAL)
    for words in ("muller", "sea AND", '"the', "NEAR(", "müll* OR", "-", "*", "a:b", "^"):
        assert isinstance(store.search(words), list)
    assert [hit.message for hit in store.search("MÜLLER sea")] == [question]
    assert store.search("unfinished") == []
    store.end(growing, "finished at last", MessageState.COMPLETE, GenerationRecord())
    assert [hit.message for hit in store.search("finished")] == [growing]
    store.end(growing, "other words", MessageState.COMPLETE, GenerationRecord())
    assert store.search("finished") == []


def test_only_short_messages_are_read_for_an_excerpt_by_the_search_index(open_store: OpenStore) -> None:
    """SQLite's snippets take quadratic time. A long message has an excerpt around the first word, too."""
    store, statements = open_store(), list[str]()
    number = store.begin([], "")
    long = "The harbour. " * 40_000 + "A Needle! " + "The sea. " * 40_000
    for text in (long, "A short needle.", long.replace("Needle", "needle")):
        store.add(number, None, Message(USER, text))
    store._connection.set_trace_callback(statements.append)
    hits = {hit.message: hit.excerpt for hit in store.search("needle")}
    store._connection.set_trace_callback(None)
    reads = [statement for statement in statements if "FROM 'main'.'messages'" in statement]
    assert len(reads) == 1
    assert hits[2] == "A short needle."
    for message, word in ((1, "A Needle!"), (3, "A needle!")):
        assert word in hits[message]
        assert len(hits[message]) < 100


def test_a_name_matches_a_title_or_its_beginning_or_an_id(file: Path, open_store: OpenStore) -> None:
    """A name matches a whole title first, then a beginning, then an id; % has no special meaning."""
    store = open_store(file)
    first, second, third = (store.begin([], "") for _ in range(3))
    for number, title in ((first, "Alchemy"), (second, "Alchemy and salt"), (third, "7")):
        store.rename(number, title)
    assert [conversation.id for conversation in store.named("alchemy")] == [first]
    assert {conversation.id for conversation in store.named("alch")} == {first, second}
    assert [conversation.id for conversation in store.named(str(second))] == [second]
    assert [conversation.id for conversation in store.named("7")] == [third]
    assert store.named("%") == []


def test_a_title_has_the_first_words_of_the_user(file: Path, open_store: OpenStore) -> None:
    """A title has the first words of the user, at most 60 characters, and skips the greeting."""
    assert title_of("  What\n is  a river? ") == "What is a river?"
    assert len(title_of("word " * 100)) <= 60
    store = open_store(file)
    number = store.begin([], "")
    root = store.add(number, None, Message(ASSISTANT, "Welcome!"))
    store.add(number, root, Message(USER, "Where am I?"))
    assert store.conversations()[0].title == "Where am I?"


def test_a_message_of_another_conversation_is_refused_as_a_parent(file: Path, open_store: OpenStore) -> None:
    """A message of another conversation is refused as a parent and as a place to move to."""
    store = open_store(file)
    one, other = store.begin([], ""), store.begin([], "")
    message = store.add(one, None, Message(USER, "a"))
    with pytest.raises(StoreError, match="has no message"):
        store.add(other, message, Message(USER, "b"))
    with pytest.raises(StoreError, match="has no message"):
        store.move(other, message)


ENDLESS = "WITH RECURSIVE c (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) SELECT id FROM c"


def test_a_newer_database_is_refused_and_unchanged(file: Path) -> None:
    """A database of a newer version is refused and its file is unchanged."""
    Store(file).close()
    with raw_database(file) as raw:
        raw.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = file.read_bytes()
    with pytest.raises(StoreError, match="newer hermes"):
        Store(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be one" * 40, b"SQLite format 3\x00"]
)
def test_a_file_that_is_not_a_database_is_refused_and_unchanged(file: Path, content: bytes) -> None:
    """A file that is not a database is refused and unchanged."""
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(StoreError):
        Store(file)
    assert file.read_bytes() == content


@pytest.mark.parametrize("version", [0, schema.VERSION, schema.VERSION + 1])
def test_a_database_of_another_program_is_refused_and_unchanged(file: Path, version: int) -> None:
    """This holds for any schema version and for any journal mode, which is stored in the file."""
    file.parent.mkdir()
    with raw_database(file) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("CREATE TABLE theirs (x)")
        raw.execute(f"PRAGMA user_version = {version}")
    before = file.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(file)
    assert file.read_bytes() == before


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("kind", "statements"),
    [
        ("trigger", ["CREATE TRIGGER x AFTER INSERT ON messages BEGIN DELETE FROM messages; END"]),
        (
            "trigger",
            [
                "DROP TRIGGER message_added",
                "CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN DELETE FROM messages; END",
            ],
        ),
        ("view", ["DROP TABLE messages", f"CREATE VIEW messages AS {ENDLESS}"]),
    ],
)
def test_a_database_with_code_of_others_is_refused(file: Path, kind: str, statements: list[str]) -> None:
    """A view can be endless, and a trigger can delete what is saved."""
    Store(file).close()
    with raw_database(file) as raw:
        for statement in statements:
            raw.execute(statement)
    with pytest.raises(StoreError, match=f"contains a {kind} that hermes did not create"):
        Store(file)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_a_journal_that_is_a_named_pipe_is_refused(file: Path, ending: str) -> None:
    """SQLite would wait until another process opens it."""
    Store(file).close()
    journal = file.with_name(file.name + ending)
    journal.unlink(missing_ok=True)
    os.mkfifo(journal)
    with pytest.raises(StoreError, match="is not a regular file"):
        Store(file)


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")],
    ids=["folder", "pipe", "device"],
)
def test_a_database_that_is_not_a_regular_file_is_refused(file: Path, make: Callable[[Path], None]) -> None:
    """It is not opened, and the hint is the next step."""
    file.parent.mkdir()
    make(file)
    with pytest.raises(StoreError, match="is not a regular file") as caught:
        Store(file)
    assert "--no-log" in caught.value.hint


@pytest.mark.parametrize("name", ["-journal", "-wal", "-shm", "lock"])
def test_a_journal_or_lock_that_is_a_symbolic_link_is_not_followed(file: Path, name: str) -> None:
    """The target is unchanged, or is not created. A refused link has a hint."""
    Store(file).close()
    targets = file.parent / "theirs", file.parent / "missing"
    targets[0].write_text("theirs" * 1000)
    link = file.with_suffix(".lock") if name == "lock" else file.with_name(f"{file.name}{name}")
    for target in targets:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        try:
            with closing(Store(file)) as store:
                store.begin([], "")
        except StoreError as error:
            assert "symbolic link" in error.hint  # noqa: PT017 - SQLite may ignore or replace the link
    assert (targets[0].read_text(), targets[1].exists()) == ("theirs" * 1000, False)


def test_a_database_with_wider_permissions_becomes_private(file: Path, open_store: OpenStore) -> None:
    """Also one that a link leads to."""
    target = file.parent.parent / "backup.db"
    Store(target).close()
    target.chmod(0o644)
    file.parent.mkdir()
    file.symlink_to(target)
    open_store(file)
    assert (stat.S_IMODE(target.stat().st_mode), file.is_symlink()) == (0o600, True)


def test_a_migration_that_fails_is_rolled_back(tmp_path: Path) -> None:
    """Migrations run in order, and one that fails is rolled back as a whole."""
    with closing(connect(tmp_path / "a.db")) as connection:
        steps = (
            *schema.MIGRATIONS,
            "ALTER TABLE conversations ADD COLUMN mood TEXT;\nCREATE TABLE extra (x);",
        )
        broken = (*schema.MIGRATIONS, "CREATE TABLE extra (x);\nCREATE TABLE extra (x);")
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            schema.migrate(connection, broken)
        assert schema.version_of(connection) == schema.VERSION
        schema.migrate(connection, steps)
        assert schema.version_of(connection) == schema.VERSION + 1
        assert connection.execute("SELECT mood FROM conversations").fetchall() == []


def test_the_hint_for_a_denied_folder_names_the_variable(tmp_path: Path) -> None:
    """The hint names the variable that moves the folder."""
    with pytest.raises(StoreError, match="Permission denied") as caught, explained(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert "OPENHERMES_HOME" in caught.value.hint


def test_a_folder_that_cannot_be_created_is_a_store_error(tmp_path: Path) -> None:
    """A folder that cannot be created raises a StoreError with "cannot be written"."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "conversations.db")


def test_two_concurrent_writers_lose_no_turn(file: Path, open_store: OpenStore) -> None:
    """Two processes that write at the same time keep all their turns."""
    Store(file).close()
    code = (
        "import sys; from pathlib import Path; from hermes_cli.store.store import Store;"
        "from hermes_cli.messages import Message, Role;"
        "s = Store(Path(sys.argv[1])); c = s.begin([], sys.argv[2]); p = None\n"
        "for n in range(60): p = s.add(c, p, Message(Role.USER, f'{sys.argv[2]} {n}'))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in ("a", "b")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    store = open_store(file)
    for conversation in store.conversations():
        texts = [message.text for message in store.path(conversation.leaf)]
        assert texts == [f"{conversation.persona} {n}" for n in range(60)]


@pytest.mark.slow
def test_a_long_conversation_can_be_removed(file: Path, open_store: OpenStore) -> None:
    """A conversation of 1,200 turns is removed from the search and from the file."""
    store = open_store(file)
    number, parent = store.begin([], ""), None
    for n in range(1200):
        parent = store.add(number, parent, Message(USER, f"turn{n}"))
    assert store.remove([number]) == 1
    assert store.search("turn7") == []
    store.close()
    assert b"turn1100" not in file.read_bytes()


def test_changes_to_a_removed_conversation_are_refused(file: Path, open_store: OpenStore) -> None:
    """Every change to a conversation that another window removed raises a StoreError."""
    store, other = open_store(file), open_store(file)
    number = store.begin([], "")
    message = store.add(number, None, Message(USER, "q"))
    other.remove([number])
    changes: list[Callable[[], None]] = [
        lambda: store.grow(message, "x"),
        lambda: store.end(message, "x", MessageState.COMPLETE, GenerationRecord()),
        lambda: store.rename(number, "x"),
        lambda: store.move(number, None),
        lambda: store.set_opening(number, []),
    ]
    for change in changes:
        with pytest.raises(StoreError, match="removed in another window"):
            change()


def test_names_match_in_any_case(file: Path, open_store: OpenStore) -> None:
    """Names match in any case, also with umlauts."""
    store = open_store(file)
    number = store.begin([], "")
    store.rename(number, "Ärger im Büro")
    assert [conversation.id for conversation in store.named("ärger im büro")] == [number]
    assert [conversation.id for conversation in store.named("ÄRGER")] == [number]


def test_begin_stores_all_turns_or_no_conversation(file: Path, open_store: OpenStore) -> None:
    """If `begin` fails, it leaves no conversation; otherwise it keeps all turns and the lock."""
    store = open_store(file)
    obstacle = file.with_name("claims")
    obstacle.write_text("a file")
    with pytest.raises(StoreError):
        store.begin([], "", chain(Message(USER, "q")), lock=True)
    assert store.conversations() == []
    obstacle.unlink()
    turns = Message(USER, "q"), Message(ASSISTANT, "a")
    number = store.begin([], "", chain(*turns), lock=True)
    conversation = store.conversation(number)
    assert conversation is not None
    assert [m.message for m in store.path(conversation.leaf)] == list(turns)
    assert not ConversationLocks(file.with_name("claims")).is_free(number)


def tree(*parents: int | None, leaf: int | None) -> tuple[StoredConversation, list[Node]]:
    """Return a conversation whose messages 1, 2, … have these parents."""
    messages = [
        Node(n, parent, USER, f"m{n}", MessageState.COMPLETE, 100.0 + n)
        for n, parent in enumerate(parents, 1)
    ]
    opening = (Message(Role.SYSTEM, "s"),)
    is_named = True
    return StoredConversation(9, "t", is_named, "p", opening, 10.0, 20.0, leaf), messages


def test_adopted_conversations_keep_their_trees(file: Path, open_store: OpenStore) -> None:
    """Adopted conversations keep their branches, times, opening, name and leaf."""
    store = open_store(file)
    own = store.begin([], "")
    store.add(own, None, Message(USER, "own"))
    numbers = store.adopt([tree(None, 1, 1, 3, None, leaf=4), tree(None, leaf=None)])
    first, second = (store.conversation(number) for number in numbers)
    assert first is not None
    assert second is not None
    assert (first.title, first.is_named, first.persona, first.opening[0].text) == ("t", True, "p", "s")
    assert (first.created, first.updated, second.leaf) == (10.0, 20.0, None)
    place = {m.id: n for n, m in enumerate(store.tree(first.id), 1)}
    assert [place.get(m.parent or 0) for m in store.tree(first.id)] == [None, 1, 1, 3, None]
    assert [m.text for m in store.path(first.leaf)] == ["m1", "m3", "m4"]
    assert [m.created for m in store.tree(first.id)] == [101.0, 102.0, 103.0, 104.0, 105.0]
    assert len(store.search("m3")) == 1


def test_nothing_is_adopted_if_one_conversation_is_invalid(file: Path, open_store: OpenStore) -> None:
    """If one conversation is invalid, none is adopted."""
    store = open_store(file)
    with pytest.raises(KeyError):
        store.adopt([tree(None, 1, leaf=2), tree(None, 7, leaf=1)])
    assert (store.conversations(), store.search("m1")) == ([], [])


def test_others_write_between_the_short_transactions_of_an_import(
    file: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction has more rows than the limit, and no other process sees a part of the import."""
    store, other = open_store(file), open_store(file)
    own, rows, seen = other.begin([], ""), list[int](), list[int]()
    monkeypatch.setattr(imports, "TRANSACTION_ROWS", 10)

    def write_in_a_pause(_seconds: float) -> None:
        other.add(own, None, Message(USER, "mine"))
        with raw_database(file) as raw:
            rows.append(raw.execute("SELECT count(*) FROM messages WHERE text <> 'mine'").fetchone()[0])
        seen.append(len(other.conversations()) + len(other.search("m1")) + len(other.named("t")))
        assert other.conversation(own + 1) is None
        assert other.remove_unfinished() == 0
        with pytest.raises(StoreError, match="another window is importing"):
            other.adopt([])

    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=write_in_a_pause)
    with monkeypatch.context() as patch:
        patch.setattr(imports, "time", clock)
        numbers = store.adopt([tree(None, *range(1, 30), leaf=30), *[tree(None, leaf=1)] * 12])
    assert len(rows) >= 5
    assert max(after - before for before, after in pairwise([0, *rows])) <= 10
    assert set(seen) == {1}
    counts = {c.id: c.message_count for c in store.conversations()}
    assert counts == {own: 1, numbers[0]: 30, **dict.fromkeys(numbers[1:], 1)}
    assert len(other.search("m1")) == len(numbers) == 13
    assert other.adopt([tree(None, leaf=1)]) == [max(numbers) + 1]
    assert store.check() == []


@pytest.mark.parametrize("is_next_import", [False, True])
def test_a_killed_import_is_invisible_and_can_be_removed(
    file: Path, open_store: OpenStore, *, is_next_import: bool
) -> None:
    """`remove_unfinished` and the next import remove its text from all files."""
    store = open_store(file)
    store.begin([], "")
    code = (
        "import os, sys; from pathlib import Path; from hermes_cli.store import imports, store;"
        "from tests.store.test_store import tree\n"
        "imports.TRANSACTION_ROWS = 10\n"
        "def trees():\n"
        "    yield tree(None, *range(1, 40), leaf=40)\n"
        "    os.kill(os.getpid(), 9)\n"
        "store.Store(Path(sys.argv[1])).adopt(trees())"
    )
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == -9
    assert b"m37" in file.read_bytes() + file.with_name("conversations.db-journal").read_bytes()
    assert (len(store.conversations()), store.search("m37")) == (1, [])
    if is_next_import:
        store.adopt([])
    else:
        assert store.remove_unfinished() == 1
    assert store.remove_unfinished() == 0
    assert store.check() == []
    with raw_database(file) as raw:
        assert raw.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    data = b"".join(path.read_bytes() for path in file.parent.iterdir() if path.is_file())
    assert b"m37" not in data
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.slow
def test_nobody_waits_long_beside_an_import(file: Path, open_store: OpenStore) -> None:
    """Another process that adds messages during an import waits at most 0.5 s for each."""
    store = open_store(file)
    code = (
        "import sys, time; from pathlib import Path; from hermes_cli.store.store import Store;"
        "from hermes_cli.messages import Message, Role;"
        "s = Store(Path(sys.argv[1])); c = s.begin([], 'p'); longest = 0.0; print('ready', flush=True)\n"
        "while not Path(sys.argv[2]).exists():\n"
        "    start = time.perf_counter(); s.add(c, None, Message(Role.USER, 'mine'))\n"
        "    longest = max(longest, time.perf_counter() - start); time.sleep(0.02)\n"
        "print(longest)"
    )
    end = file.with_name("end")
    command = [sys.executable, "-c", code, str(file), str(end)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        store.adopt(tree(None, *range(1, 100), leaf=100) for _ in range(100))
        end.touch()
        assert float(other.stdout.read()) < 0.5


def test_an_adopted_partial_reply_is_stored_as_stopped(file: Path, open_store: OpenStore) -> None:
    """An adopted reply that is still partial is stored as stopped, and a time of 0 becomes the present."""
    store = open_store(file)
    conversation, messages = tree(None, leaf=1)
    partial = messages[0]._replace(role=ASSISTANT, state=MessageState.PARTIAL, created=0.0)
    (number,) = store.adopt([(conversation, [partial])])
    (reply,) = store.tree(number)
    assert reply.state is MessageState.STOPPED
    assert abs(reply.created - time.time()) < 100
