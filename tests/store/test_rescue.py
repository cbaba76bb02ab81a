"""Tests of rescuing a damaged database: readable rows are saved, and the damaged file is kept."""

import random
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest

from hermes_cli.errors import StoreDamaged, StoreError
from hermes_cli.messages import Message, Role
from hermes_cli.store import schema
from hermes_cli.store.records import SavedSettings
from hermes_cli.store.rescue import rescue
from hermes_cli.store.store import Store
from tests.database import OpenStore, raw_database

CONVERSATIONS, TURNS = 20, 30
PAGE = 4096


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 600 messages on a few hundred pages, made once."""
    path = tmp_path_factory.mktemp("written") / "conversations.db"
    store = Store(path)
    for index in range(CONVERSATIONS):
        number, parent = store.begin([Message(Role.SYSTEM, "system")], "nobody"), None
        for turn in range(TURNS):
            role = Role.ASSISTANT if turn % 2 else Role.USER
            parent = store.add(number, parent, Message(role, f"{index}/{turn} " + f"word{turn} " * 60))
    store.close()
    return path


@pytest.fixture
def file(tmp_path: Path, undamaged: Path) -> Path:
    """A copy of that database, to be damaged."""
    path = tmp_path / "data" / undamaged.name
    path.parent.mkdir(mode=0o700)
    shutil.copyfile(undamaged, path)
    path.chmod(0o600)
    return path


def texts(store: Store) -> set[str]:
    """Return the first word of every message."""
    first_words = {
        m.text.split(" ")[0] for conversation in store.conversations() for m in store.tree(conversation.id)
    }
    store.close()
    return first_words


EVERYTHING = {f"{index}/{turn}" for index in range(CONVERSATIONS) for turn in range(TURNS)}


@pytest.mark.parametrize("length", [16, 100, PAGE])
def test_every_message_is_saved_if_the_beginning_is_overwritten(
    file: Path, length: int, open_store: OpenStore
) -> None:
    """With an overwritten beginning, every message is saved and the damaged file is kept aside."""
    damaged = b"\xa5" * length + file.read_bytes()[length:]
    file.write_bytes(damaged)
    with pytest.raises(StoreDamaged):
        Store(file)
    saved = rescue(file)
    assert saved is not None
    assert (saved.conversations, saved.messages) == (CONVERSATIONS, CONVERSATIONS * TURNS)
    assert saved.aside.read_bytes() == damaged
    # No file is held open: an SQLite that keeps a write-ahead log leaves it beside the database.
    assert sorted(p.name for p in file.parent.iterdir()) == [
        "conversations.damaged-1.db",
        "conversations.db",
        "conversations.lock",
    ]
    assert texts(open_store(file)) == EVERYTHING
    assert open_store(file).search("word7 word7")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))])
def test_a_damaged_page_loses_only_its_own_messages(file: Path, seed: int, open_store: OpenStore) -> None:
    """Five damaged pages cost at most 50 messages, and the rescued database passes its check."""
    rng, data = random.Random(seed), bytearray(file.read_bytes())
    bad = rng.sample(range(1, len(data) // PAGE), 5)
    for page in bad:
        data[page * PAGE : (page + 1) * PAGE] = rng.randbytes(PAGE)
    file.write_bytes(data)
    saved = rescue(file, even_if_it_opens=True)
    assert saved is not None
    assert saved.messages >= CONVERSATIONS * TURNS - 5 * 10  # a page holds nine messages
    store = open_store(file)
    assert store.check() == []
    assert texts(store) <= EVERYTHING


def test_the_remaining_messages_of_a_truncated_file_are_saved(file: Path, open_store: OpenStore) -> None:
    """From the first half of a file more than 40 % of the messages are saved."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 // PAGE * PAGE])
    saved = rescue(file, even_if_it_opens=True)
    assert saved is not None
    assert saved.messages > CONVERSATIONS * TURNS * 0.4
    assert open_store(file).check() == []


def test_a_damaged_database_of_another_program_is_not_replaced(file: Path) -> None:
    """A rescue of it is refused, and the file is unchanged."""
    file.unlink()
    with raw_database(file) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    data = file.read_bytes()[:100] + b"\xff" * 4000
    file.write_bytes(data)
    with pytest.raises(StoreError, match="not a database of conversations") as caught:
        rescue(file)
    assert (caught.type, file.read_bytes()) == (StoreError, data)
    assert sorted(path.name for path in file.parent.iterdir()) == ["conversations.db", "conversations.lock"]


def test_a_large_file_is_not_read_into_memory(file: Path) -> None:
    """A file that is not a database may have any size."""
    with file.open("wb") as large:
        large.write(b"not a database")
        large.truncate(256 << 20)
    tracemalloc.start()
    with pytest.raises(StoreError, match="is not a database of conversations"):
        rescue(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_huge_file_that_is_no_database_is_not_searched(file: Path) -> None:
    """Its size could keep hermes busy for minutes, although it takes no space on the disk."""
    with file.open("wb") as huge:
        huge.write(b"not a database")
        huge.truncate(1 << 40)
    began = time.process_time()
    with pytest.raises(StoreError, match="is not a database of conversations"):
        rescue(file)
    assert time.process_time() - began < 2


def test_a_database_without_readable_rows_is_kept_aside(file: Path, open_store: OpenStore) -> None:
    """The file has the header of hermes, so an empty database replaces it."""
    file.write_bytes(file.read_bytes()[:100] + b"\xff" * 10_000)
    saved = rescue(file)
    assert saved is not None
    assert (saved.conversations, saved.aside.stat().st_size) == (0, 10_100)
    assert texts(open_store(file)) == set()


def test_a_rescue_keeps_the_ids_of_the_conversations(file: Path, open_store: OpenStore) -> None:
    """A rescue keeps the ids and titles of all conversations, and new ids are higher."""
    store = open_store(file)
    before = {conversation.id: conversation.title for conversation in store.conversations()}
    store.close()
    file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])
    rescue(file)
    assert {
        conversation.id: conversation.title for conversation in open_store(file).conversations()
    } == before
    assert open_store(file).begin([], "") > max(before)


def test_an_undamaged_database_is_not_rescued(file: Path) -> None:
    """A database that opens is not rescued, and its file is unchanged."""
    before = file.read_bytes()
    assert rescue(file) is None
    assert file.read_bytes() == before


@pytest.mark.slow
def test_a_rescue_is_refused_while_another_window_is_open(file: Path, open_store: OpenStore) -> None:
    """A rescue is refused while another window has the database open."""
    other = open_store(file)
    file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])
    with pytest.raises(StoreError, match="another window"):
        rescue(file)
    other.close()


def test_messages_without_a_conversation_get_a_new_one(file: Path, open_store: OpenStore) -> None:
    """Messages whose conversation is missing get one named "(rescued)" with the old id."""
    with raw_database(file) as raw:
        raw.execute("PRAGMA foreign_keys = OFF")
        raw.execute("DELETE FROM conversations WHERE id = 3")
    rescue(file, even_if_it_opens=True)
    store = open_store(file)
    (conversation,) = store.named("(rescued)")
    assert (conversation.id, len(store.path(conversation.leaf))) == (3, TURNS)
    store.close()


def test_check_rebuilds_an_empty_word_index(file: Path, open_store: OpenStore) -> None:
    """`check` rebuilds a word index that lost its entries, and the search works again."""
    with raw_database(file) as raw:
        raw.execute("INSERT INTO words (words) VALUES ('delete-all')")
    store = open_store(file)
    assert store.search("word7") == []
    assert store.check() == []
    assert len(store.search("word7")) == CONVERSATIONS
    store.close()


def test_invalid_rows_are_reported_and_repaired(file: Path, open_store: OpenStore) -> None:
    """`check` reports invalid rows, other conversations stay readable, and a rescue repairs all of them."""
    with raw_database(file) as raw:
        raw.execute("UPDATE conversations SET title = CAST(x'ff41' AS TEXT) WHERE id = 1")
        raw.execute("UPDATE conversations SET opening = '[[' WHERE id = 2")
        raw.execute("UPDATE messages SET options = 'nonsense' WHERE id = 5")
        raw.execute(
            "UPDATE messages SET parent = (SELECT max(id) FROM messages WHERE conversation = 4) "
            "WHERE id = (SELECT min(id) FROM messages WHERE conversation = 4)"
        )
    store = open_store(file)
    assert len(store.check()) == 3
    assert len(store.path(store.named("3/0")[0].leaf)) == TURNS
    store.close()
    assert rescue(file, even_if_it_opens=True) is not None
    store = open_store(file)
    assert store.check() == []
    assert len(store.conversations()) == CONVERSATIONS
    store.close()


def test_a_rescue_follows_a_symbolic_link(file: Path, tmp_path: Path) -> None:
    """A rescue through a symbolic link keeps the link and puts the damaged file beside its target."""
    link = tmp_path / "elsewhere.db"
    link.symlink_to(file)
    file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])
    saved = rescue(link)
    assert saved is not None
    assert link.is_symlink()
    assert (saved.aside.parent, saved.messages) == (file.parent, CONVERSATIONS * TURNS)


def test_the_folder_of_a_killed_rescue_is_removed(file: Path) -> None:
    """The next rescue removes the folder that a killed rescue left."""
    left = file.parent / ".rescue-abc"
    left.mkdir()
    (left / "copy.db").write_bytes(file.read_bytes())
    assert rescue(file) is None
    assert not left.exists()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_rows_of_an_earlier_schema_version_are_saved(
    tmp_path: Path, open_store: OpenStore, version: int
) -> None:
    """A rescue saves rows of an earlier version, without a setting, and those of this version with it."""
    file = tmp_path / "data" / "conversations.db"
    file.parent.mkdir()
    with raw_database(file) as first:
        schema.migrate(first, schema.MIGRATIONS[:version])
        first.execute(
            "INSERT INTO conversations (title, persona, created, updated) VALUES ('old', 'ed', 1, 2)"
        )
    store = open_store(file)
    number = store.begin([], "new")
    store.set_setting(number, SavedSettings(user="Ann", note="Be brief.", summaries=((3, "They met."),)))
    assert store.conversations()[1].setting == SavedSettings()
    store.close()
    file.write_bytes(b"\xa5" * 100 + file.read_bytes()[100:])
    assert rescue(file) is not None
    saved = open_store(file)
    conversations = {
        conversation.persona: (conversation.title, conversation.setting)
        for conversation in saved.conversations()
    }
    saved.close()
    assert conversations["ed"] == ("old", SavedSettings())
    assert conversations["new"][1] == SavedSettings(
        user="Ann", note="Be brief.", summaries=((3, "They met."),)
    )
