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

from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.config import Paths
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.messages import Message, Role
from hermes_cli.options import LayeredOptions
from hermes_cli.personas.persona import Persona
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.commands.tree import LEGEND, drawn
from hermes_cli.repl.completion import CommandCompleter
from hermes_cli.repl.state import Host, ReplState
from hermes_cli.screen.cells import cell_count
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState, Tree
from tests.database import OpenStore
from tests.run_hermes import Result, hermes, script

Env = Mapping[str, str]
TURNS = ({"text": "A1"}, {"text": "A2"}, {"text": "A3"}, {"text": "A4"})


def chat(env: Env, tmp_path: Path, *lines: str, flags: tuple[str, ...] = ()) -> Result:
    """Hold a conversation and return what was printed."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return hermes("chat", "-m", script(tmp_path, *TURNS), *flags, env=env, stdin=stdin)


def visible(env: Env, index: int = 0) -> list[str]:
    """Return the visible texts of a conversation; `index` 0 is the one used last."""
    with contextlib.closing(Store(Paths.from_environment(env).conversations)) as store:
        return [message.text for message in store.path(store.conversations()[index].leaf)]


def test_regen_adds_an_answer_beside_the_first(home: Env, tmp_path: Path) -> None:
    """`/swipe left` returns to the first answer."""
    result = chat(home, tmp_path, "q", "/regen", "/tree", "/swipe left", "/tree")
    assert result.stdout == b"A1\nA2\n"
    assert result.stderr.count("(1 of 2)") == 1
    assert "*    1 you: q\n     2   it: A1\n>    3   it: A2" in result.stderr
    assert "*    1 you: q\n>    2   it: A1\n     3   it: A2" in result.stderr
    assert visible(home) == ["q", "A1"]


@pytest.mark.parametrize("width", [40, 80])
def test_a_tree_has_one_row_for_each_message_at_a_terminal(width: int) -> None:
    """A long message and a deep branch are cut, also if the answer was stopped."""
    tree = Tree()
    for _ in range(40):
        tree.append(Message(Role.USER, "What is the colour of the sea? " * 9))
        for state in (MessageState.STOPPED, MessageState.COMPLETE):
            answer = tree.append(
                Message(Role.ASSISTANT, "It is \u6df1\u3044 blue, as far as we know. " * 9), state
            )
            tree.move_to(answer.parent)
        tree.move_to(answer.id)
    rows = drawn(tree, width)
    assert len(rows) == len(tree.nodes)
    assert max(map(cell_count, rows)) == width
    assert rows[1].lstrip().startswith("2   it (stopped): It is")
    assert all("you: What" in row or "it: It" in row or "it (stopped): It" in row for row in rows)
    assert len(drawn(tree)[-1]) > 2 * 40  # in a pipe, each branch is indented


def test_tree_prints_a_legend(home: Env, tmp_path: Path) -> None:
    """It is the last line."""
    assert chat(home, tmp_path, "q", "/tree").stderr.endswith(f">    2 it: A1\n{LEGEND}\n")


def test_resume_prints_which_conversation_continues(home: Env, tmp_path: Path) -> None:
    """Without a name, it is the last one with a visible message."""
    chat(home, tmp_path, "one", "/clear", "two", "/undo")
    result = chat(home, tmp_path, "/resume", "three")
    assert "Continuing conversation 1, 'one'." in result.stderr
    assert visible(home) == ["one", "A1", "three", "A1"]


def test_swipe_right_at_the_last_answer_generates_another(home: Env, tmp_path: Path) -> None:
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
    assert "user\nthree<|im_end|>" in result.stderr  # in the prompt that `/show prompt` prints
    assert "user\none<|im_end|>" not in result.stderr
    assert visible(home) == ["one", "A1", "two", "A2", "four", "A4"]
    assert "     1   you: one" in result.stderr
    assert "it: A2" in result.stderr


def test_a_fork_leaves_the_original_unchanged(home: Env, tmp_path: Path) -> None:
    """Both can be continued."""
    chat(home, tmp_path, "one", "/fork second try", "two", "/resume one", "three")
    assert visible(home) == ["one", "A1", "three", "A3"]
    assert visible(home, 1) == ["one", "A1", "two", "A2"]


def test_a_fork_keeps_the_swipes(home: Env, tmp_path: Path) -> None:
    """Also in a copy that --fork makes; another answer is shown by its number."""
    chat(home, tmp_path, "one", "/regen", "/fork second", "/swipe 1", "two")
    assert visible(home) == ["one", "A1", "two", "A3"]
    model = script(tmp_path, {"text": "B1"})
    arguments = ("chat", "-m", model, "-r", "second", "--fork")
    assert hermes(*arguments, env=home, stdin=b"/undo\n/swipe 2\nthree\n").code == 0
    assert visible(home) == ["one", "A2", "three", "B1"]


def test_a_conversation_is_titled_listed_found_and_deleted(home: Env, tmp_path: Path) -> None:
    """The commands are `/title`, `/sessions`, `/search` and `/forget`."""
    lines = (
        "first marmalade",
        "/title",
        "/title my own",
        "/sessions",
        "/search marmalade",
        "/forget --yes",
        "/sessions",
    )
    result = chat(home, tmp_path, *lines)
    assert "first marmalade\n" in result.stderr
    assert "called 'my own'" in result.stderr
    assert "2 messages  my own" in result.stderr
    assert result.stderr.endswith("There are no conversations yet.\n")
    assert b"marmalade" not in Paths.from_environment(home).conversations.read_bytes()


def test_an_edited_turn_is_a_new_branch(home: Env, tmp_path: Path) -> None:
    """The old turn is beside it in the tree."""
    result = chat(home, tmp_path, "one", "two", "/edit 2", "another one", "/tree")
    assert result.stdout == b"A1\nA2\nA3\n"
    assert visible(home) == ["another one", "A3"]
    assert "     1   you: one\n" in result.stderr
    assert "*    5   you: another one\n>    6   it: A3\n" in result.stderr


@pytest.mark.parametrize("line", ["", "  ", "/undo 9", "/tree"])
def test_a_canceled_edit_changes_nothing(home: Env, tmp_path: Path, line: str) -> None:
    """An empty line or a command in place of the new turn cancels the edit."""
    result = chat(home, tmp_path, "one", "/edit", line, "two")
    assert result.stdout == b"A1\nA2\n"
    assert visible(home) == ["one", "A1", "two", "A2"]


def test_edit_answer_replaces_the_answer_in_the_prompt(home: Env, tmp_path: Path) -> None:
    """The first answer is still in the tree."""
    result = chat(home, tmp_path, "one", "/edit answer", "B1", "two", "/show prompt", "/goto 2")
    assert result.stdout == b"A1\nA2\n"
    assert "assistant\nB1" in result.stderr
    assert "assistant\nA1" not in result.stderr
    assert visible(home) == ["one", "A1"]
    assert "no answer here yet" in chat(home, tmp_path, "/edit answer").stderr


def test_an_edit_that_does_not_fit_changes_nothing(home: Env, tmp_path: Path) -> None:
    """The turn is longer than the context window."""
    model = script(tmp_path, *TURNS, context_size=80)
    lines = f"one\n/edit\n{'word ' * 100}\ntwo\n".encode()
    result = hermes("chat", "-m", model, "-s", "x", env=home, stdin=lines)
    assert result.code == 65
    assert visible(home) == ["one", "A1", "two", "A2"]


def test_nothing_is_written_after_nolog(home: Env, tmp_path: Path) -> None:
    """The tree commands still work."""
    result = chat(
        home, tmp_path, "one", "/nolog", "secret two", "/regen", "/tree", "/undo 2", "secret three", "/nolog"
    )
    assert result.stdout == b"A1\nA2\nA3\nA4\n"
    assert "Still on disk: 2 messages" in result.stderr
    assert "you: secret two" in result.stderr
    assert "nothing is saved in this run already" in result.stderr
    assert visible(home) == ["one", "A1"]
    files = [p for p in Path(home["HOME"]).rglob("*") if p.is_file()]
    assert files
    assert not any(b"secret" in p.read_bytes() for p in files)


def test_forget_after_nolog_deletes_the_saved_turns(home: Env, tmp_path: Path) -> None:
    """The turns before `/nolog` are on the disk."""
    result = chat(home, tmp_path, "marmalade", "/nolog", "two", "/forget --yes")
    assert "Deleted this conversation" in result.stderr
    assert b"marmalade" not in Paths.from_environment(home).conversations.read_bytes()


def test_forget_in_a_pipe_needs_yes(home: Env, tmp_path: Path) -> None:
    """Without it, nothing is deleted, and no line is taken for an answer to a question."""
    result = chat(home, tmp_path, "one", "/forget", "yes")
    assert (result.code, result.stdout) == (2, b"A1\nA2\n")
    assert "confirm with /forget --yes" in result.stderr
    assert visible(home) == ["one", "A1", "yes", "A2"]


def test_export_takes_md_for_markdown(home: Env, tmp_path: Path) -> None:
    """The format does not depend on the name of the file."""
    chat(
        home, tmp_path, "one", *(f"/export {name} {tmp_path}/{name}.txt" for name in ("markdown", "md", "MD"))
    )
    contents = {(tmp_path / f"{name}.txt").read_bytes() for name in ("markdown", "md", "MD")}
    assert len(contents) == 1
    assert b"A1" in contents.pop()


def test_export_writes_the_conversation_to_a_private_file(home: Env, tmp_path: Path) -> None:
    """The file has the requested format, and no file is overwritten."""
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
    expected = {"a-b.md", "a-b.json", "folder/a-b.sharegpt.jsonl", "my chat.md", "there.jsonl"}
    assert {name for name in names if not name.startswith("home/")} == expected | {"script.toml"}
    assert all(stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600 for name in expected)
    assert "Written to a-b.md: markdown.\n" in result.stderr
    assert "Written to there.jsonl: openai, without other branches (json has them)." in result.stderr
    assert '"A2"' in (tmp_path / "there.jsonl").read_text()
    for words in ("already a file my chat.md", "no format 'shragpt'", ".jsonl can be", "cannot be written"):
        assert words in result.stderr
    assert "there are no messages yet" in chat(home, tmp_path, "/export").stderr


def test_export_completes_the_names_of_formats() -> None:
    """There are seven formats."""
    terminal = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), False, False, False)  # noqa: FBT003 - see tests/run_hermes.py
    persona = Persona("A", "", Path("a.toml"))
    session = Session(ScriptedEngine(["x"]), [Member(persona)], LayeredOptions())
    printer = AnswerPrinter(interactive=False)
    completer = CommandCompleter(ReplState(terminal, session, "", cast("Host", None), printer))

    def completed(line: str) -> list[str]:
        return [completion.text for completion in completer.get_completions(Document(line), CompleteEvent())]

    assert completed("/exp") == ["export"]
    assert completed("/export s") == ["sillytavern", "sharegpt"]
    assert len(completed("/export ")) == 7


def test_a_conversation_is_saved_with_its_persona(home: Env, tmp_path: Path, open_store: OpenStore) -> None:
    """`/persona` starts a conversation with another persona."""
    chat(home, tmp_path, "one", "/persona gourmet-cook", "two", "/resume one", "three")
    store = open_store(Paths.from_environment(home).conversations)
    assert [(c.title, c.persona) for c in store.conversations()] == [
        ("one", "hermes-2"),
        ("two", "gourmet-cook"),
    ]


def test_the_tree_commands_work_with_no_log(home: Env, tmp_path: Path) -> None:
    """Nothing is written to disk."""
    result = chat(home, tmp_path, "q", "/regen", "/swipe 1", "/undo", "again", flags=("--no-log",))
    assert (result.code, result.stdout) == (0, b"A1\nA2\nA3\n")
    assert not Paths.from_environment(home).conversations.exists()


@pytest.mark.parametrize("command", ["/sessions", "/search marmalade", "/resume 1", "/resume"])
def test_a_chat_that_is_not_saved_says_that_it_has_no_saved_conversations(
    home: Env, tmp_path: Path, command: str
) -> None:
    """It does not claim that there are none. A chat that is saved has them."""
    chat(home, tmp_path, "marmalade")
    remark = "a chat that is not saved has only its own conversations, not the saved ones"
    assert remark in chat(home, tmp_path, command, flags=("--no-log",)).stderr
    assert remark not in chat(home, tmp_path, command).stderr


def test_an_impossible_command_is_reported(home: Env, tmp_path: Path) -> None:
    """The conversation goes on."""
    impossible = (
        "/undo",
        "/regen",
        "/swipe",
        "/tree",
        "/fork",
        "/goto 7",
        "/goto x",
        "/title",
        "/forget --yes",
        "/search",
    )
    result = chat(
        home,
        tmp_path,
        *impossible,
        "q",
        "/undo 5",
        "/undo -1",
        "/swipe 9",
        "/swipe left",
        "/goto 99",
        "/resume x",
    )
    assert result.stdout == b"A1\n"
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert "bug in hermes" not in result.stderr
    for words in (
        "you have not sent a message yet",
        "not an answer",
        "first answer",
        "no message 99",
        "no conversation 'x'",
    ):
        assert words in result.stderr
