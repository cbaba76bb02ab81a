"""Tests of reading rows: every value in the file is checked, whoever wrote it."""

import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes_cli.config import Paths
from hermes_cli.formats import registry
from hermes_cli.messages import Message, Role
from hermes_cli.screen.columns import when
from hermes_cli.store.records import SavedSettings
from hermes_cli.store.rescue import rescue
from hermes_cli.store.rows import CONVERSATION_COLUMNS, MESSAGE_COLUMNS
from hermes_cli.store.store import Store
from hermes_cli.tree import GenerationRecord
from tests.database import OpenStore, chain, raw_database
from tests.run_hermes import environment, hermes, script

COLUMNS = [
    *(("conversations", name) for name in CONVERSATION_COLUMNS if name not in {"count", "model"}),
    *(("messages", name) for name in MESSAGE_COLUMNS),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=9),
    JSON.map(json.dumps),
    st.sampled_from(["[" * 5000, '{"seed": 1e999}', '{"note_depth": NaN}', "9" * 5000, '[["user"]]']),
    st.sampled_from(["user", "complete", "partial", 1, 2, 1.5, b"\0\0\0\1"]),
)


def write(file: Path) -> None:
    """Make a database with two conversations."""
    with closing(Store(file)) as store:
        opening = [Message(Role.SYSTEM, "Be brief.")]
        settings = SavedSettings("Ann", 1, "a note", 2, ((1, "They met."),), variables=(("hp", "3"),))
        tree = chain(Message(Role.USER, "hello"))
        tree.append(Message(Role.ASSISTANT, "there"), generation=GenerationRecord("m", "bf16", {"seed": 1}))
        for title in ("first", "second"):
            store.begin(opening, "nobody", tree, settings, title=title)


def remove_types(file: Path) -> None:
    """Let every column except the ids take values of every type, as a file of a stranger may."""
    with raw_database(file) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        for table in ("conversations", "messages"):
            names = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
            sql = f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(names[1:])})"
            raw.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, table))


def read_everything(env: Mapping[str, str], model: str) -> list[str]:
    """Run all commands that read the database; return the unexpected errors. `script` wrote `model`."""
    commands = [
        *(["sessions", *verb.split()] for verb in ("list --all", "show 1", "show FIRST", "search hello")),
        *(["sessions", "export", "1", "--format", kind.name] for kind in registry.FORMATS),
        ["sessions", "export", "--all", "--format", "json"],
        ["sessions", "check"],
        ["sessions", "prune", "--days", "9", "--dry-run"],
        ["chat", "-m", model, "-c"],
        ["chat", "-m", model, "-r", "1"],
    ]
    lines = b"/tree\n/sessions\n/search hello\n/stats\n/note\n/summary\n/show prompt\nmore\n"
    errors = []
    for arguments in commands:
        result = hermes(*arguments, env=env, stdin=lines if arguments[0] == "chat" else b"")
        if (
            "bug in hermes" in result.stderr
            or "Traceback" in result.stderr
            or result.code not in {0, 1, 2, 75}
        ):
            errors.append(f"{arguments}: {result.stderr}")
    return errors


@pytest.fixture(scope="module")
def typeless(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, str], str, bytes]:
    """A home, a model, and the bytes of a database whose columns take values of every type."""
    folder = tmp_path_factory.mktemp("typeless")
    env, model = environment(folder), script(folder, {"text": "A."})
    file = Paths.from_environment(env).conversations
    write(file)
    assert read_everything(env, model) == []
    file.unlink()
    write(file)
    remove_types(file)
    return env, model, file.read_bytes()


@given(st.sampled_from(COLUMNS), VALUES)
@example(("conversations", "updated"), 1e300)
@example(("conversations", "setting"), '{"note_depth": 1e999}')
@example(("conversations", "opening"), '[["user", "\\ud800"]]')
@example(("conversations", "title"), None)
@example(("messages", "role"), "nobody")
def test_no_value_in_any_column_causes_an_unexpected_error(
    typeless: tuple[Mapping[str, str], str, bytes], place: tuple[str, str], value: Any
) -> None:
    """Every command that reads the database succeeds or reports the damage."""
    env, model, data = typeless
    file, (table, column) = Paths.from_environment(env).conversations, place
    for path in file.parent.glob("conversations.*"):
        path.unlink()
    file.write_bytes(data)
    with raw_database(file) as raw:
        raw.execute("PRAGMA foreign_keys = OFF")
        with suppress(sqlite3.Error):  # an id must be an integer, and the index of words takes only text
            raw.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608 - constants
    assert read_everything(env, model) == []


@pytest.mark.parametrize("value", [1e300, 9e99, -1.0, float("inf"), float("-inf"), 253_370_764_801.0])
@pytest.mark.parametrize("column", ["created", "updated"])
def test_an_impossible_time_is_reported_and_repaired(
    home: Mapping[str, str], column: str, value: float
) -> None:
    """`list` and `check` report it, and a rescue sets the present time."""
    file = Paths.from_environment(home).conversations
    write(file)
    with raw_database(file) as raw:
        raw.execute(f"UPDATE conversations SET {column} = ? WHERE id = 2", (value,))  # noqa: S608 - constants
        raw.execute("UPDATE messages SET created = ? WHERE id = 1", (value,))
    listed = hermes("sessions", "list", env=home)
    assert listed.code == 75
    assert f"conversation 2 is damaged: {column} is out of range" in listed.stderr
    assert "'hermes sessions check --rescue'" in listed.stderr
    checked = hermes("sessions", "check", env=home)
    assert (checked.code, "message 1 is damaged: created is out of range" in checked.stderr) == (75, True)
    assert hermes("sessions", "check", "--rescue", env=home).code == 0
    assert hermes("sessions", "check", env=home).code == 0
    assert hermes("sessions", "list", env=home).stdout.count(when(time.time())[:10].encode()) == 2
    assert hermes("sessions", "show", "1", env=home).stdout == b"[user]\nhello\n\n[assistant]\nthere\n\n"


def test_a_rescue_resets_only_the_invalid_values(tmp_path: Path, open_store: OpenStore) -> None:
    """The other columns of the row are kept."""
    file = tmp_path / "conversations.db"
    write(file)
    with raw_database(file) as raw:
        raw.execute("""UPDATE conversations SET setting = '{"seed": "one"}', updated = -1 WHERE id = 1""")
        raw.execute("UPDATE conversations SET opening = '[1]' WHERE id = 2")
        raw.execute("UPDATE messages SET prompt_tokens = -1, token_ids = x'00' WHERE id = 2")
    store = open_store(file)
    assert len(store.check()) == 2
    store.close()
    rescue(file, even_if_it_opens=True)
    store = open_store(file)
    assert store.check() == []
    first, second = store.conversation(1), store.conversation(2)
    assert first is not None
    assert second is not None
    assert (first.setting, first.opening) == (SavedSettings(), (Message(Role.SYSTEM, "Be brief."),))
    assert (second.setting.user, second.opening) == ("Ann", ())
    assert store.tree(1)[1].generation == GenerationRecord("m", "bf16", {"seed": 1})
