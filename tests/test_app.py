"""Tests of the program as a whole: start-up, help, and exit codes of unexpected errors."""

import ast
import importlib
import io
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hermes_cli import __version__, app
from hermes_cli.screen.terminal import Terminal
from tests.run_hermes import hermes, script

HEAVY = {
    "huggingface_hub",
    "prompt_toolkit",
    "psutil",
    "rich",
    "tokenizers",
    "tomllib",
    "torch",
    "transformers",
    "xllamacpp",
}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["ask", "--help"], ["chat", "--bogus"]])
def test_help_and_version_import_no_heavy_library(home: Mapping[str, str], arguments: list[str]) -> None:
    """Nor does a usage error."""
    assert not {name.split(".")[0] for name in modules(home, arguments)} & HEAVY


def test_session_commands_do_not_import_the_models_package(home: Mapping[str, str]) -> None:
    """They need only the store."""
    for arguments in (["sessions", "list"], ["sessions", "search", "word"]):
        assert "hermes_cli.models" not in modules(home, arguments)


def test_a_chat_starts_without_what_it_may_not_need(home: Mapping[str, str], tmp_path: Path) -> None:
    """Most is imported with the first message, and the planner only for a model on this machine."""
    unneeded = {
        "hermes_cli.application.prompt",
        "hermes_cli.chat.prompt_builder",
        "hermes_cli.engines.remote.engine",
        "hermes_cli.models.facts",
        "hermes_cli.models.hub",
        "hermes_cli.models.plan.planner",
        "hermes_cli.personas.formats",
        "importlib.metadata",
    }
    assert not modules(home, ["chat", "-m", script(tmp_path)]) & unneeded


def test_a_chat_starts_without_a_garbage_collection(home: Mapping[str, str], tmp_path: Path) -> None:
    """A collection finds nothing there, and takes a twentieth of the start."""
    code = (
        "import gc, sys; from hermes_cli import __main__; gc.collect();"
        "gc.callbacks.append(lambda phase, _info: sys.stderr.write(f'COLLECTION {phase}'));"
        f"sys.argv = ['hermes', 'chat', '-m', {script(tmp_path)!r}]; __main__.main()"
    )
    assert "COLLECTION" not in errors_of(home, code)


def errors_of(home: Mapping[str, str], code: str) -> str:
    """Run Python code, and return its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=dict(home),
        check=True,
        text=True,
    )
    return done.stderr


def modules(home: Mapping[str, str], arguments: list[str]) -> set[str]:
    """Return the modules that a command line imports."""
    code = (
        "import sys, os; from hermes_cli import app; from hermes_cli.screen.terminal import Terminal;"
        f"app.run({arguments!r}, Terminal.from_process(os.environ), os.environ);"
        "sys.stderr.write(chr(10) + 'MODULES' + repr(sorted(sys.modules)))"
    )
    return set(ast.literal_eval(errors_of(home, code).partition("MODULES")[2]))


def test_help_lines_equal_those_in_the_help_of_each_command() -> None:
    """`hermes --help` has its own table, so that it imports no command."""
    for verb, line in app.VERBS.items():
        command: Any = typer.main.get_command(importlib.import_module(f"hermes_cli.cli.{verb}").app)
        assert command.help.splitlines()[0] == line


def test_version_is_printed(home: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed on standard output."""
    assert hermes("--version", env=home).code == 0
    assert capsys.readouterr().out == f"hermes {__version__}\n"


def test_an_unexpected_error_is_one_line_without_debug(home: Mapping[str, str], tmp_path: Path) -> None:
    """The exit code is 1; --debug adds a traceback."""
    folder = Path(home["OPENHERMES_HOME"])
    folder.mkdir()
    model = script(tmp_path, {"text": "x", "error": "mistake"})
    quiet = hermes("ask", "-m", model, "x", env=home)
    loud = hermes("--debug", "ask", "-m", model, "x", env=home)
    assert (quiet.code, loud.code) == (1, 1)
    assert "AssertionError: scripted error: mistake" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


HOSTILE = "a\u202eb\u2066\u200e\u061c\ufeff\U000e0041\u009b2J\x1b]0;x\x07\nhermes: all is well\r"
"""Direction marks, tag characters, control sequences, and a line that looks like one of hermes' own."""


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--{HOSTILE}"],
        [f"-{HOSTILE}"],
        [f"--debug={HOSTILE}"],
        ["cha\u202et"],
        ["cha\x9bt", "--help"],
        ["-m", HOSTILE, "models"],
        ["run", f"-{HOSTILE}"],
        [HOSTILE, "--no-log"],
        ["sessions", "show", "a", HOSTILE],
        ["sessions", HOSTILE],
        ["personas", "list", f"--{HOSTILE}"],
        ["ask", "--temperature", HOSTILE, "x"],
        ["ask", f"--temperatur={HOSTILE}", "x"],
        ["ask", "--gpu-layers", HOSTILE, "x"],
        ["ask", "-f", HOSTILE],
        ["ask", "-m", HOSTILE, "x"],
        ["ask", "-p", HOSTILE, "x"],
        ["ask", "--context"],
        ["sessions", "prune", HOSTILE],
        ["models", "show", HOSTILE],
    ],
    ids=ascii,
)
def test_a_usage_error_prints_no_control_characters(
    home: Mapping[str, str], arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """It is printed by hermes itself, with the next step; nothing bypasses its printer."""
    result = hermes(*arguments, env=home)
    assert result.code in {2, 69, 78}
    assert result.stderr.replace("\n", "").isprintable()
    assert "hermes: all is well" not in result.stderr.splitlines()
    assert "\nhermes: " in f"\n{result.stderr}"
    assert result.stdout == b""
    assert capfd.readouterr() == ("", "")


def test_a_usage_error_has_the_usage_the_problem_and_the_next_step(home: Mapping[str, str]) -> None:
    """The exit code is 2."""
    result = hermes("personas", "show", env=home)
    assert (result.code, result.stderr.splitlines()) == (
        2,
        [
            "Usage: hermes personas show [OPTIONS] NAME",
            "hermes: missing argument 'NAME'",
            "        run 'hermes personas show -h' for help",
        ],
    )


def test_a_command_group_without_a_command_prints_its_help(
    home: Mapping[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with exit code 2."""
    result = hermes("personas", env=home)
    assert result.code == 2
    assert result.stderr.startswith("Usage: hermes personas [OPTIONS] COMMAND [ARGS]...")
    assert "export" in result.stderr
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", ["complete_bash", "\u202e_x", "source_\u202e"])
def test_typers_shell_completion_is_off(
    home: Mapping[str, str], value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It would print the variable."""
    monkeypatch.setenv("_HERMES_COMPLETE", value)
    assert hermes("--version", env=home).code == 0
    assert capfd.readouterr() == (f"hermes {__version__}\n", "")


def test_windows_is_refused_with_one_message(home: Mapping[str, str]) -> None:
    """The program ends before it imports a module that does not exist there."""
    code = "import sys; sys.platform = 'win32'; from hermes_cli.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=home, check=False)
    assert done.returncode == 69
    assert done.stderr.decode().split("\n")[0] == "hermes: Windows is not supported"


def at_a_terminal(*arguments: str, env: Mapping[str, str]) -> list[str]:
    """Return the lines that a command prints on a terminal of 80 columns."""
    out = io.BytesIO()
    app.run(arguments, Terminal(io.BytesIO(), out, io.StringIO(), False, True, False), env)  # noqa: FBT003 - see tests/run_hermes.py
    return out.getvalue().decode().splitlines()


@pytest.mark.parametrize("command", ["models plan openhermes-2", "doctor", "personas check wordy"])
def test_long_lines_are_wrapped_between_words(home: Mapping[str, str], command: str) -> None:
    """The words are those of the output in a pipe, except for the amount of free memory."""
    folder = Path(home["OPENHERMES_HOME"], "config", "personas")
    folder.mkdir(parents=True)
    (folder / "wordy.toml").write_text(f'system = "x"\nname = "{"Long " * 30}"\nworlds = ["{"a b " * 30}"]\n')
    env = {**home, "OPENHERMES_PERSONA": "nobody"} if command == "doctor" else home
    lines = at_a_terminal(*command.split(), env=env)
    in_pipe = hermes(*command.split(), env=env).stdout.decode().splitlines()
    assert max(map(len, in_pipe)) > 80
    assert max(len(line) for line in lines if " " in line.strip()) <= 80
    words, expected = (re.sub(r"[0-9]", "0", " ".join(printed)).split() for printed in (lines, in_pipe))
    assert words == expected


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    """Python ignores exceptions of destructors, and would print a traceback."""
    code = """
import signal, time
from hermes_cli import app
class Doomed:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0)
app.handle_signals()
try:
    Doomed()
    time.sleep(5)
except BaseException as error:
    print(type(error).__name__, error.exit_code)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("Interrupted 143\n", "")
