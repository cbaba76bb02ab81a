"""The help of the commands: examples, lists of commands, metavars, and suggestions for unknown options."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import typer
import typer.main

from hermes_cli import app
from tests.run_hermes import hermes

ROOT: Any = typer.main.get_command(app.app)


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield a command and all commands below it, with their words."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = [item for verb in app.VERBS for item in commands(ROOT.get_command(None, verb), (verb,))]


def examples(command: Any) -> list[str]:
    """Return the examples at the end of a command's help."""
    return [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]


@pytest.mark.parametrize("verb", app.VERBS)
def test_the_examples_of_a_command_can_be_parsed(verb: str) -> None:
    """The command that they run is the one that they are an example of."""
    lines = examples(ROOT.get_command(None, verb))
    assert 1 <= len(lines) <= 3
    for line in lines:
        words = shlex.split(line.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0])
        words = words[words.index("hermes") + 1 :]
        assert words[0] == verb
        command, context = ROOT, None
        while hasattr(command, "commands"):
            name, command, words = command.resolve_command(typer.Context(command), words)
            context = typer.Context(command, info_name=name, parent=context)
        command.make_context(name, words)


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_metavars_are_upper_case(path: tuple[str, ...], command: Any) -> None:
    """Those of arguments and of options with a value."""
    context = typer.Context(command, info_name=" ".join(path))
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            assert parameter.metavar
        if parameter.metavar:
            assert parameter.metavar == parameter.metavar.upper()
    assert "{" not in command.get_usage(context)


@pytest.mark.parametrize(
    "verb", [verb for verb in app.VERBS if hasattr(ROOT.get_command(None, verb), "commands")]
)
def test_lists_of_commands_are_not_truncated(home: Mapping[str, str], verb: str) -> None:
    """Each line of help is complete."""
    help_text = hermes(verb, env=home).stderr
    words = " ".join(help_text.split())
    for command in ROOT.get_command(None, verb).commands.values():
        assert command.help.splitlines()[0] in words
    assert "..." not in help_text.partition("Commands:")[2]
    assert max(map(len, help_text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--temp", "--temperature"),
        ("--temprature", "--temperature"),
        ("--repeat-penalty", "--repetition-penalty"),
        ("--num-predict", "--max-tokens"),
        ("--max_tokens", "--max-tokens"),
        ("--num_ctx", "--context"),
    ],
)
def test_an_unknown_option_has_one_suggestion(home: Mapping[str, str], option: str, meant: str) -> None:
    """Names in other programs are known."""
    result = hermes("ask", option, "1", "x", env=home)
    assert result.code == 2
    assert f"hermes: there is no option {option}; did you mean '{meant}'?" in result.stderr.splitlines()


def test_ask_without_no_log_names_the_chat_that_has_it(home: Mapping[str, str]) -> None:
    """The similar option --log, which saves, is not suggested."""
    result = hermes("ask", "--then-chat", "--no-log", "x", env=home)
    assert result.code == 2
    assert "hermes: there is no option --no-log\n" in result.stderr
    assert "'hermes chat --no-log PROMPT' continues in a chat" in result.stderr


def test_an_unknown_option_that_resembles_none_has_no_suggestion(home: Mapping[str, str]) -> None:
    """The next line names the help. Short names are not all similar."""
    assert "hermes: there is no option --ban\n" in hermes("tokens", "--ban", "x", env=home).stderr
    assert "hermes: there is no option --qqqq\n" in hermes("ask", "--qqqq", env=home).stderr
    assert "there is no command 'lst'; did you mean 'list'?" in hermes("models", "lst", env=home).stderr


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ("models remove x", "there is no command 'remove'; did you mean 'rm'?", "hermes models -h"),
        ("config get model", "there is no command 'get'; did you mean 'show'?", "hermes config -h"),
        ("config rm model", "there is no command 'rm'", "hermes config unset KEY"),
        ("personas rm x", "there is no command 'rm'", "hermes personas show NAME"),
        ("personas frobnicate", "there is no command 'frobnicate'", "hermes personas -h"),
        ("models list x y", "'hermes models list' takes no argument 'x y'", "hermes models list -h"),
        ("completion", "missing argument 'SHELL'; it can be bash, zsh, fish", "hermes completion -h"),
        ("sessions prune --days 0", "invalid value for '--days': 0 is less than 1", "sessions prune -h"),
    ],
)
def test_a_usage_error_names_what_the_user_needs(
    home: Mapping[str, str], arguments: str, message: str, hint: str
) -> None:
    """Commands of other programs are known; the hint is the help, or what hermes offers instead."""
    result = hermes(*arguments.split(), env=home)
    *_, printed, next_step = result.stderr.splitlines()
    assert (result.code, printed) == (2, f"hermes: {message}")
    assert hint in next_step
