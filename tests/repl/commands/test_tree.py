"""Commands that move in a conversation's tree, line by line, over the scripted engine."""

import contextlib
import io
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from hermes_cli.chat.session import Session
from hermes_cli.config import Paths
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.messages import Opening
from hermes_cli.options import Sourced
from hermes_cli.personas.persona import Persona
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.completion import CommandCompleter
from hermes_cli.repl.host import Host
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.store import Store
from tests.database import OpenStore
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
TURNS = ({"text": "A1"}, {"text": "A2"}, {"text": "A3"}, {"text": "A4"})


def chat(env: Env, tmp_path: Path, *lines: str, flags: tuple[str, ...] = ()) -> Result:
    """Hold a conversation and return what was printed."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-m", script(tmp_path, *TURNS), *flags, env=env, stdin=stdin)


def visible(env: Env, place: int = 0) -> list[str]:
    """Return the visible texts of a conversation; `place` 0 is the one used last."""
    store = Store(Paths.from_environment(env).conversations)
    path = [message.text for message in store.path(store.conversations()[place].leaf)]
    store.close()
    return path


def test_another_answer_stands_beside_the_first(home: Env, tmp_path: Path) -> None:
    """`/regen` adds an answer beside the first, and `/swipe left` returns to the first."""
    result = chat(home, tmp_path, "q", "/regen", "/tree", "/swipe left", "/tree")
    assert result.stdout == b"A1\nA2\n"
    assert result.stderr.count("(1 of 2)") == 1
    assert "*    1 you: q\n     2   it: A1\n>    3   it: A2" in result.stderr
    assert "*    1 you: q\n>    2   it: A1\n     3   it: A2" in result.stderr
    assert visible(home) == ["q", "A1"]


def test_right_of_the_last_answer_is_a_new_one(home: Env, tmp_path: Path) -> None:
    """`/swipe right` at the last answer generates another one."""
    result = chat(home, tmp_path, "q", "/swipe", "/swipe 1", "/swipe right", "/swipe")
    assert result.stdout == b"A1\nA2\nA3\n"
    assert visible(home) == ["q", "A3"]


def test_undo_deletes_nothing(home: Env, tmp_path: Path) -> None:
    """Undone turns stay in the tree outside the visible path, and `/goto` returns to them."""
    result = chat(
        home, tmp_path, "one", "two", "/undo 2", "three", "/show prompt", "/tree", "/goto 4", "four"
    )
    assert result.stdout == b"A1\nA2\nA3\nA4\n"
    assert "one" not in result.stderr.partition("/tree")[0].partition("three")[2].partition("6 tokens")[0]
    assert visible(home) == ["one", "A1", "two", "A2", "four", "A4"]
    assert "     1   you: one" in result.stderr
    assert "it: A2" in result.stderr


def test_a_fork_leaves_the_other_as_it_was(home: Env, tmp_path: Path) -> None:
    """A fork and its original continue independently."""
    chat(home, tmp_path, "one", "/fork second try", "two", "/resume one", "three")
    assert visible(home) == ["one", "A1", "three", "A3"]
    assert visible(home, 1) == ["one", "A1", "two", "A2"]


def test_title_search_sessions_and_forget(home: Env, tmp_path: Path) -> None:
    """A conversation is named, listed and found, and `/forget` deletes it from the disk."""
    lines = (
        "first marmalade",
        "/title",
        "/title my own",
        "/sessions",
        "/search marmalade",
        "/forget",
        "/sessions",
    )
    result = chat(home, tmp_path, *lines)
    assert "first marmalade\n" in result.stderr
    assert "called 'my own'" in result.stderr
    assert "2 messages  my own" in result.stderr
    assert result.stderr.endswith("There are no conversations yet.\n")
    assert b"marmalade" not in Paths.from_environment(home).conversations.read_bytes()


def test_an_edited_turn_is_a_branch(home: Env, tmp_path: Path) -> None:
    """`/edit` adds the new turn as a branch beside the old one."""
    result = chat(home, tmp_path, "one", "two", "/edit 2", "another one", "/tree")
    assert result.stdout == b"A1\nA2\nA3\n"
    assert visible(home) == ["another one", "A3"]
    assert "     1   you: one\n" in result.stderr
    assert "*    5   you: another one\n>    6   it: A3\n" in result.stderr


@pytest.mark.parametrize("line", ["", "  ", "/undo 9", "/tree"])
def test_an_edit_that_is_given_up_changes_nothing(home: Env, tmp_path: Path, line: str) -> None:
    """An empty line or a command in place of the edited turn changes nothing."""
    result = chat(home, tmp_path, "one", "/edit", line, "two")
    assert result.stdout == b"A1\nA2\n"
    assert visible(home) == ["one", "A1", "two", "A2"]


def test_an_answer_in_other_words(home: Env, tmp_path: Path) -> None:
    """`/edit answer` replaces the answer in the prompt and keeps the first one in the tree."""
    result = chat(home, tmp_path, "one", "/edit answer", "B1", "two", "/show prompt", "/goto 2")
    assert result.stdout == b"A1\nA2\n"
    assert "assistant\nB1" in result.stderr
    assert "assistant\nA1" not in result.stderr
    assert visible(home) == ["one", "A1"]
    assert "no answer here yet" in chat(home, tmp_path, "/edit answer").stderr


def test_an_edit_that_does_not_fit_leaves_everything_as_it_was(home: Env, tmp_path: Path) -> None:
    """An edited turn that does not fit the context window changes nothing."""
    model = script(tmp_path, *TURNS, context_size=80)
    lines = f"one\n/edit\n{'word ' * 100}\ntwo\n".encode()
    result = hermes("chat", "-m", model, "-s", "x", env=home, stdin=lines)
    assert result.code == 65
    assert visible(home) == ["one", "A1", "two", "A2"]


def test_from_nolog_on_nothing_is_written(home: Env, tmp_path: Path) -> None:
    """After `/nolog` no new turn is written to disk, and the tree commands still work."""
    result = chat(
        home, tmp_path, "one", "/nolog", "secret two", "/regen", "/tree", "/undo 2", "secret three", "/nolog"
    )
    assert result.stdout == b"A1\nA2\nA3\nA4\n"
    assert "The 2 messages so far stay" in result.stderr
    assert "you: secret two" in result.stderr
    assert "nothing is saved in this run already" in result.stderr
    assert visible(home) == ["one", "A1"]
    files = [p for p in Path(home["HOME"]).rglob("*") if p.is_file()]
    assert files
    assert not any(b"secret" in p.read_bytes() for p in files)


def test_forget_after_nolog_forgets_what_is_on_the_disk(home: Env, tmp_path: Path) -> None:
    """`/forget` after `/nolog` deletes the conversation's part on the disk."""
    result = chat(home, tmp_path, "marmalade", "/nolog", "two", "/forget")
    assert "Deleted this conversation" in result.stderr
    assert b"marmalade" not in Paths.from_environment(home).conversations.read_bytes()


def test_export_writes_this_conversation(home: Env, tmp_path: Path) -> None:
    """`/export` writes a private file in the format requested and does not overwrite a file."""
    (tmp_path / "folder").mkdir()
    lines = (
        "../a: b?",
        "/export",
        "/export json",
        "/export sharegpt folder",
        "/export my chat.md",
        "/export my chat.md",
        "/export shragpt",
        "/export x.jsonl",
        "/regen",
        "/export openai there.jsonl",
        "/export chatml /no/such/folder",
        "on",
    )
    with contextlib.chdir(tmp_path):
        result = chat(home, tmp_path, *lines)
    assert (result.code, result.stdout) == (2, b"A1\nA2\nA3\n")
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    wanted = {"a-b.md", "a-b.json", "folder/a-b.sharegpt.jsonl", "my chat.md", "there.jsonl"}
    assert {name for name in names if not name.startswith("home/")} == wanted | {"script.toml"}
    assert all(stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600 for name in wanted)
    assert "Written to a-b.md: markdown.\n" in result.stderr
    assert "Written to there.jsonl: openai, without other branches (json has them)." in result.stderr
    assert '"A2"' in (tmp_path / "there.jsonl").read_text()
    for words in ("already a file my chat.md", "no format 'shragpt'", ".jsonl can be", "cannot be written"):
        assert words in result.stderr
    assert "there are no messages yet" in chat(home, tmp_path, "/export").stderr


def test_formats_are_completed() -> None:
    """`/export` completes the names of the seven formats."""
    terminal = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), False, False, False)  # noqa: FBT003 - see tests/run_hermes.py
    persona = Persona("A", "", Path("a.toml"))
    session = Session(ScriptedEngine(["x"]), Opening(), Sourced())
    printer = AnswerPrinter(interactive=False)
    completer = CommandCompleter(ReplState(terminal, session, persona, "", cast("Host", None), printer))

    def completed(line: str) -> list[str]:
        return [one.text for one in completer.get_completions(Document(line), CompleteEvent())]

    assert completed("/exp") == ["export"]
    assert completed("/export s") == ["sillytavern", "sharegpt"]
    assert len(completed("/export ")) == 7


def test_another_persona_is_kept_under_its_own_name(home: Env, tmp_path: Path, open_store: OpenStore) -> None:
    """Each conversation is stored with its persona's name."""
    chat(home, tmp_path, "one", "/persona gourmet-cook", "two", "/resume one", "three")
    store = open_store(Paths.from_environment(home).conversations)
    assert [(c.title, c.persona) for c in store.conversations()] == [
        ("one", "hermes-2"),
        ("two", "gourmet-cook"),
    ]


def test_the_tree_is_there_without_a_log(home: Env, tmp_path: Path) -> None:
    """With --no-log the tree commands work and nothing is written to disk."""
    result = chat(home, tmp_path, "q", "/regen", "/swipe 1", "/undo", "again", flags=("--no-log",))
    assert (result.code, result.stdout) == (0, b"A1\nA2\nA3\n")
    assert not Paths.from_environment(home).conversations.exists()


def test_what_cannot_be_is_said(home: Env, tmp_path: Path) -> None:
    """A command that cannot be carried out is reported, and the conversation goes on."""
    wrong = (
        "/undo",
        "/regen",
        "/swipe",
        "/tree",
        "/fork",
        "/goto 7",
        "/goto x",
        "/title",
        "/forget",
        "/search",
    )
    result = chat(
        home, tmp_path, *wrong, "q", "/undo 5", "/undo -1", "/swipe 9", "/swipe left", "/goto 99", "/resume x"
    )
    assert result.stdout == b"A1\n"
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert "bug in hermes" not in result.stderr
    for words in (
        "there is no turn of yours yet",
        "no answer",
        "first answer",
        "no message 99",
        "no conversation 'x'",
    ):
        assert words in result.stderr
