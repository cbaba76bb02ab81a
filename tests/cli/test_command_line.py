"""Command lines without a command, verbs of other programs, and `--debug` after a command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hermes_cli import app
from hermes_cli.cli.command_line import completed, is_typo
from hermes_cli.errors import UsageError
from tests.run_hermes import hermes, script

Env = Mapping[str, str]
ROOT: Any = typer.main.get_command(app.app)


def full(*arguments: str, interactive: bool = False) -> list[str]:
    """Return the completed arguments."""
    return completed(arguments, app.VERBS, lambda verb: ROOT.get_command(None, verb), interactive=interactive)


@pytest.mark.parametrize(
    ("arguments", "at_terminal", "in_pipe"),
    [
        ("", "chat", "ask"),
        ("--debug", "--debug chat", "--debug ask"),
        ("-m starter", "chat -m starter", "ask -m starter"),
        ("--debug -p elric -c", "--debug chat -p elric -c", "--debug ask -p elric -c"),
        ("hello", "ask hello", "ask hello"),
        ("hello -m starter", "ask hello -m starter", "ask hello -m starter"),
        ("-m starter hello", "ask -m starter hello", "ask -m starter hello"),
        ("-f a.md -", "ask -f a.md -", "ask -f a.md -"),
        ("-- -x", "ask -- -x", "ask -- -x"),
        ("-- models", "ask -- models", "ask -- models"),
        ("-m x -- models", "ask -m x -- models", "ask -m x -- models"),
        ("--bogus", "chat --bogus", "ask --bogus"),
        ("models list", "models list", "models list"),
        ("stop the noise", "ask stop the noise", "ask stop the noise"),
        ("--version", "--version", "--version"),
        ("-h", "-h", "-h"),
        ("run starter", "chat -m starter", "ask -m starter"),
        ("run starter Hi --seed 1", "ask -m starter Hi --seed 1", "ask -m starter Hi --seed 1"),
        ("pull x", "models pull x", "models pull x"),
        ("ls", "models list", "models list"),
        ("list -h", "models list -h", "models list -h"),
        ("show x", "models show x", "models show x"),
        ("version", "--version", "--version"),
        ("help", "--help", "--help"),
        ("help sessions rm", "sessions rm --help", "sessions rm --help"),
        ("help pull", "models pull --help", "models pull --help"),
    ],
)
def test_a_command_line_without_a_command_is_completed(
    arguments: str, at_terminal: str, in_pipe: str
) -> None:
    """Words are a prompt for `ask`. Otherwise `chat` starts at a terminal, and `ask` in a pipe."""
    assert " ".join(full(*arguments.split(), interactive=True)) == at_terminal
    assert " ".join(full(*arguments.split())) == in_pipe


def test_a_text_with_a_blank_is_a_prompt_even_if_it_begins_with_a_command() -> None:
    """It is one argument."""
    assert full("models are", interactive=True) == ["ask", "models are"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("chta", "there is no command 'chta'; did you mean 'chat'?"),
        ("modls list", "did you mean 'models'?"),
        ("Chat", "did you mean 'chat'?"),
        ("pul", "did you mean 'pull'?"),
        ("rm x", "there is no command 'rm'"),
        ("serve", "there is no command 'serve'"),
        ("logs --stats", "there is no command 'logs'"),
        ("help nope", "there is no command 'nope'"),
        ("help rm", "there is no command 'rm'"),
        ("run", "'run' needs the name of a model"),
        ("run -m x", "'run' needs the name of a model"),
        ("-m starter models list", "the options of 'models' belong after it"),
        ("--fork", "this starts 'ask', which has no option --no-log"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(arguments: str, words: str) -> None:
    """The message has the next step."""
    with pytest.raises(UsageError) as error:
        full(*arguments.replace("--fork", "--no-log").split())
    assert words in error.value.message
    assert error.value.hint


def test_an_option_that_chat_lacks_is_refused_at_a_terminal() -> None:
    """The hint names the command that has it."""
    with pytest.raises(UsageError) as error:
        full("--json", interactive=True)
    assert error.value.message == "this starts 'chat', which has no option --json"
    assert error.value.hint == "use 'hermes ask --json'"


@pytest.mark.parametrize("word", ["chta", "hcat", "cat", "chaat", "chst", "chatt", "Chat".lower()])
def test_one_typing_error_is_recognized(word: str) -> None:
    """A letter is missing, extra, wrong, or swapped with the next one."""
    assert is_typo(word, "chat")


@pytest.mark.parametrize(
    ("word", "verb"),
    [("what", "chat"), ("hello", "help"), ("", "ls"), ("task", "chat"), ("chart me", "chat")],
)
def test_other_words_are_no_typing_errors(word: str, verb: str) -> None:
    """They are prompts."""
    assert not is_typo(word, verb)


def test_a_bare_prompt_is_answered(home: Env, tmp_path: Path) -> None:
    """As by `ask`, also from standard input."""
    env = {**home, "OPENHERMES_MODEL": script(tmp_path, {"text": "Hi"})}
    assert hermes("hello", env=env).stdout == b"Hi\n"
    assert hermes("--seed", "1", env=env, stdin=b"hello").stdout == b"Hi\n"
    assert hermes("ps", env=home).stderr.startswith("No model stays loaded")


@pytest.mark.parametrize("arguments", [["--debug", "ask"], ["ask", "--debug"]])
def test_debug_works_before_and_after_the_command(home: Env, tmp_path: Path, arguments: list[str]) -> None:
    """It prints the traceback."""
    model = script(tmp_path, {"text": "x", "error": "mistake"})
    assert "Traceback" in hermes(*arguments, "-m", model, "x", env=home).stderr


def test_debug_works_after_a_group_and_its_command(home: Env) -> None:
    """The groups are those of models, personas, sessions and config."""
    for arguments in (["models", "--debug", "show", "nope"], ["models", "show", "--debug", "nope"]):
        assert "Traceback" in hermes(*arguments, env=home).stderr
