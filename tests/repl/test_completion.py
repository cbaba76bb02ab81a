"""Completion of command names, arguments and paths; an error never interrupts typing."""

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent, Completion
from prompt_toolkit.document import Document

from hermes_cli.application.chat import ReplHost
from hermes_cli.application.flags import Flags
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.members import Member
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.options import FIELDS, LayeredOptions
from hermes_cli.repl import command_table
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.completion import CommandCompleter
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.terminal import Terminal
from tests.database import OpenStore

Env = Mapping[str, str]
Complete = Callable[[str], list[Completion]]


def completer(env: Env, recorder: Recorder | None = None, *turns: str) -> Complete:
    """Return a function that completes a line, in a store with one conversation for each turn."""
    terminal = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), False, False, False)  # noqa: FBT003 - see tests/run_hermes.py
    runtime = Runtime(terminal, env)
    members = [Member(runtime.persona(None))]
    session = Session(ScriptedEngine(["x"] * len(turns)), members, LayeredOptions(), recorder)
    for turn in turns:
        session.clear()
        list(session.send(turn, Cancel()))
    host = ReplHost(runtime, Flags(), ModelChoice(SelectedModel("scripted", "it was requested")))
    printer = AnswerPrinter(interactive=False)
    command_completer = CommandCompleter(ReplState(terminal, session, "", host, printer))
    return lambda line: list(command_completer.get_completions(Document(line), CompleteEvent()))


@pytest.fixture
def complete(home: Env) -> Complete:
    """A function that completes a line in a new conversation."""
    return completer(home)


def texts(completions: list[Completion]) -> list[str]:
    """Return the texts that the completions insert."""
    return [completion.text for completion in completions]


def lines(line: str, completions: list[Completion]) -> list[str]:
    """Return the completed lines."""
    return [line[: len(line) + completion.start_position] + completion.text for completion in completions]


def test_every_command_is_offered_with_its_help(complete: Complete) -> None:
    """After `/` every command is offered with its help text."""
    completions = complete("/")
    assert texts(completions) == [command.name for command in command_table.COMMANDS]
    assert [completion.display_meta_text for completion in completions] == [
        command.help for command in command_table.COMMANDS
    ]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("/rege", ["/regen", "/regex"]),
        ("/REGE", ["/regen", "/regex"]),
        ("/show", ["/show"]),
        ("/nonsense", []),
    ],
)
def test_commands_with_the_typed_prefix_are_offered(complete: Complete, line: str, names: list[str]) -> None:
    """Commands that begin with the typed text are offered, without regard to case."""
    assert lines(line, complete(line)) == names


@pytest.mark.parametrize(
    "line", ["", "r", "say /r", " /r", "//r", "/r\n", "a\n/r", "/nonsense x", "/clear x"]
)
def test_nothing_is_offered_for_a_message(complete: Complete, line: str) -> None:
    """Nothing is offered for a message, an unknown command or a command without arguments."""
    assert complete(line) == []


def test_command_arguments_are_completed(complete: Complete) -> None:
    """The arguments of commands are completed; options are offered with their help text."""
    assert texts(complete("/set ")) == list(FIELDS)
    assert lines("/set TEMP", complete("/set TEMP")) == ["/set temperature"]
    assert complete("/set temp")[0].display_meta_text == FIELDS["temperature"].help
    assert lines("/show ", complete("/show ")) == ["/show prompt"]
    assert lines("/copy c", complete("/copy c")) == ["/copy code"]
    assert lines("/new x", complete("/new x")) == []


def test_names_of_personas_and_models_are_completed(home: Env, complete: Complete) -> None:
    """`/persona` and `/model` complete the names of personas and installed models."""
    models = Path(home["OPENHERMES_HOME"]) / "data" / "models"
    models.mkdir(parents=True)
    (models / "mine.gguf").write_bytes(b"no model")
    assert lines("/persona g", complete("/persona g")) == ["/persona gourmet-cook"]
    assert "mine" in texts(complete("/model "))
    assert lines("/model MI", complete("/model MI"))[0] == "/model mine"


def test_a_broken_persona_is_offered_with_its_error(home: Env, complete: Complete) -> None:
    """A broken persona file is offered with its error, beside the others."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "ed.toml").write_text("system = ")
    (folder / "sp\x1b[2Jooky.toml").write_text('system = "x"')
    offered = {completion.text: completion.display_meta_text for completion in complete("/persona ")}
    assert offered["ed"].startswith("broken: ")
    assert "gourmet-cook" in offered
    assert all(name.isprintable() and meta.isprintable() for name, meta in offered.items())


def test_an_unreadable_folder_gives_no_completions(home: Env, complete: Complete, tmp_path: Path) -> None:
    """A folder that cannot be read does not raise an exception."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder)  # a loop, so that root cannot read it either
    assert complete("/persona ") == []
    assert complete("/per") != []
    (tmp_path / "file").touch()
    for path in (f"{tmp_path}/file/x", f"{tmp_path}/none/x", f"{folder}/x", "x" * 300, "~nobody-here/x"):
        assert complete(f"/file {path}") == []


def test_resume_completes_numbers_and_titles(home: Env, open_store: OpenStore) -> None:
    """`/resume` completes the numbers and the titles of conversations, control characters made visible."""
    complete = completer(home, Recorder(open_store()), "of ships", "of \x1b[2Jstorms")
    assert [(completion.text, completion.display_meta_text) for completion in complete("/resume ")] == [
        ("2", "of \u241b[2Jstorms"),
        ("1", "of ships"),
        ("of ships", "number 1"),
    ]
    assert lines("/resume 1", complete("/resume 1")) == ["/resume 1"]
    assert lines("/resume OF", complete("/resume OF")) == ["/resume of ships"]


def test_file_and_export_complete_paths(complete: Complete, tmp_path: Path) -> None:
    """Paths are relative or absolute; for `/export` at least one character must be typed."""
    (tmp_path / "a long name.txt").touch()
    (tmp_path / "also").mkdir()
    (tmp_path / "b.txt").touch()
    for line in (f"/file {tmp_path}/a", f"/FILE  {tmp_path}/a"):
        completions = complete(line)
        assert lines(line, completions) == [f"{line} long name.txt", f"{line}lso"]
        assert [completion.display_text for completion in completions] == ["a long name.txt", "also/"]
    with contextlib.chdir(tmp_path):
        assert {"a long name.txt", "also", "b.txt"} < set(texts(complete("/file ")))
        assert lines("/file a lo", complete("/file a lo")) == ["/file a long name.txt"]
        assert "/export b.txt" in lines("/export b", complete("/export b"))
        assert "b.txt" not in texts(complete("/export "))


def test_a_file_name_with_control_characters_is_not_offered(complete: Complete, tmp_path: Path) -> None:
    """A file whose name holds control or direction characters is not offered."""
    for name in (
        "good.txt",
        "evil\x1b[2J.txt",
        "new\nline.txt",
        "tab\t.txt",
        "turned\u202etxt.exe",
        "del\x7f",
    ):
        (tmp_path / name).touch()
    with contextlib.chdir(tmp_path):
        assert texts(complete("/file ")) == ["good.txt", "home"]
    assert texts(complete(f"/file {tmp_path}/")) == ["good.txt", "home"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["/file ", "/export ", "/persona ", "/set ", "/resume ", "/", ""]),
    st.text("~/.\0\udc80\x1b\u202e as", max_size=5),
)
@example("/file ", "~\0")  # as a paste may hold
def test_no_line_raises_an_exception(complete: Complete, command: str, rest: str) -> None:
    """No line raises an exception, and every completion is printable."""
    assert all(completion.text.isprintable() for completion in complete(f"{command}{rest}"))
