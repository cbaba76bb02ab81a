"""Tests of the program as a whole: start-up, help, and exit codes of unexpected errors."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hermes_cli import __version__, app
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


def modules(home: Mapping[str, str], arguments: list[str]) -> set[str]:
    """Return the modules that a command line imports."""
    code = (
        "import sys, os; from hermes_cli import app; from hermes_cli.screen.terminal import Terminal;"
        f"app.run({arguments!r}, Terminal.from_process(os.environ), os.environ);"
        "sys.stderr.write(chr(10) + 'MODULES' + repr(sorted(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=dict(home), check=True, text=True
    )
    return set(ast.literal_eval(result.stderr.partition("MODULES")[2]))


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
