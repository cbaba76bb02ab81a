"""`hermes completion`: the scripts, in real shells, and the completions that they ask for."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from hermes_cli.cli.completion import SCRIPTS
from hermes_cli.config import Paths
from tests.database import OpenStore
from tests.run_hermes import hermes
from tests.test_app import HEAVY, modules

Env = Mapping[str, str]
SHELLS = ("bash", "zsh", "fish")
PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_whatever_the_settings_are(home: Env, shell: str) -> None:
    """An invalid config file and an unusable home do not matter."""
    plain = hermes("completion", shell, env=home)
    assert (plain.code, plain.stderr) == (0, "")
    assert b"openhermes-cli" in plain.stdout
    folder = Path(home["OPENHERMES_HOME"]) / "config"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("not = [toml")
    assert hermes("completion", shell, env=home) == plain
    assert hermes("completion", shell, env={**home, "OPENHERMES_HOME": "/dev/null/home"}) == plain
    assert hermes("completion", shell, env={**home, "OPENHERMES_HOME": "~nobody-here/x"}) == plain


def test_an_unknown_shell_is_a_usage_error(home: Env) -> None:
    """The message lists the shells."""
    result = hermes("completion", "csh", env=home)
    assert (result.code, result.stdout) == (2, b"")
    assert "'bash', 'zsh', 'fish'" in result.stderr


def test_the_help_says_how_to_install_it(home: Env, capfd: pytest.CaptureFixture[str]) -> None:
    """The lines are not wrapped."""
    assert hermes("completion", "--help", env=home).code == 0
    printed = capfd.readouterr().out
    assert 'eval "$(hermes completion bash)"\n' in printed
    assert "hermes completion fish > ~/.config/fish/completions/hermes.fish\n" in printed


def test_completions_have_descriptions(home: Env) -> None:
    """A tab separates them."""
    result = hermes("completion", "bash", "--complete", "hermes co", env=home)
    lines = [line.split("\t") for line in result.stdout.decode().splitlines()]
    assert [value for value, _ in lines] == ["config", "completion"]
    assert lines[0][1] == "Show and change the settings."


def test_completing_never_prints_an_error_and_writes_nothing(home: Env) -> None:
    """Neither with a damaged database, nor with an unusable home."""
    for line in ("hermes sessions show ", "hermes chat -p ", "hermes chat -m ", "hermes --"):
        result = hermes("completion", "bash", "--complete", line, env=home)
        assert (result.code, result.stderr) == (0, "")
    assert not Path(home["OPENHERMES_HOME"]).exists()
    database = Paths.from_environment(home).conversations
    database.parent.mkdir(parents=True)
    database.write_text("not a database" * 1000)
    for root in (home["OPENHERMES_HOME"], "/dev/null/home", "~nobody-here/x", "\0"):
        for line in ("hermes sessions show ", "hermes chat -m no-such-model", "hermes '", ""):
            result = hermes("completion", "zsh", "--complete", line, env={**home, "OPENHERMES_HOME": root})
            assert (result.code, result.stdout, result.stderr) == (0, b"", "")
    assert [path.name for path in database.parent.iterdir()] == [database.name]


def test_conversations_are_read_without_a_lock(home: Env, open_store: OpenStore) -> None:
    """Another process may have the database open."""
    store = open_store(Paths.from_environment(home).conversations)
    store.begin((), "", title="about cats")
    store.begin((), "", title="about dogs")
    result = hermes("completion", "fish", "--complete", "hermes chat -r ", env=home)
    assert result.stdout == b"2\tabout dogs\n1\tabout cats\n"


@pytest.mark.parametrize("line", ["hermes se", "hermes ask -", "hermes -", "hermes models "])
def test_completing_a_command_imports_no_heavy_library(home: Env, line: str) -> None:
    """Each press of the tab key starts hermes."""
    assert not loaded(home, line) & HEAVY


@pytest.mark.parametrize(
    "line", ["hermes ask -m ", "hermes ask -p ", "hermes chat -r ", "hermes chat --device "]
)
def test_completing_a_name_imports_no_model_library(home: Env, line: str) -> None:
    """Only the parser of the config file is imported."""
    assert not loaded(home, line) & (HEAVY - {"tomllib"})


def loaded(home: Env, line: str) -> set[str]:
    """Return the names of the packages that the completion of a line imports."""
    names = modules(home, ["completion", "bash", "--complete", line])
    assert "hermes_cli.application.shell_completion" in names
    return {name.split(".")[0] for name in names}


# Real shells

START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "--interactive"],
}
PREPARE = {
    "bash": "PS1='ready> '; bind 'set enable-bracketed-paste off'",
    "zsh": "PS1='ready> '; unsetopt zle_bracketed_paste prompt_sp; autoload -Uz compinit; compinit -u -D",
    "fish": "function fish_prompt; echo 'ready> '; end; set -g fish_autosuggestion_enabled 0",
}
LOAD = {
    "bash": 'eval "$(hermes completion bash)"',
    "zsh": 'eval "$(hermes completion zsh)"',
    "fish": "hermes completion fish | source",
}


HERMES = """#!/bin/sh
[ "$1" = completion ] && PYTHONPATH={project} exec {python} -P -m hermes_cli "$@"
printf '<%s>' "$@"
"""
"""Runs only `hermes completion`, and otherwise prints its arguments."""


@contextmanager
def shell_with_completion(name: str, home: Env, folder: Path) -> Iterator[Any]:
    """Start a shell that has loaded the script."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    hermes_program = folder / "programs" / "hermes"
    hermes_program.parent.mkdir()
    hermes_program.write_text(HERMES.format(project=PROJECT, python=sys.executable))
    hermes_program.chmod(0o755)
    env = {**home, "PATH": f"{hermes_program.parent}:/usr/bin:/bin"}
    (folder / "work").mkdir()
    child: Any = pexpect.spawn(
        program, START[name], env=env, cwd=folder / "work", encoding="utf-8", dimensions=(60, 200), timeout=60
    )
    child.delaybeforesend = None
    try:
        for line in (PREPARE[name], LOAD[name]):
            child.send(f"{line}\r")
        enter(child, "loaded", "<loaded>")
        yield child
    finally:
        child.close(force=True)


def enter(shell: Any, keys: str, arguments: str) -> None:
    """Type a command line, and wait until hermes gets the arguments and the prompt is back."""
    shell.send(f"hermes {keys}\r")
    shell.expect_exact(arguments)
    shell.expect_exact("ready> ")


@pytest.mark.long
@pytest.mark.parametrize("name", SHELLS)
def test_the_tab_key_completes_in_a_real_shell(
    name: str, home: Env, tmp_path: Path, open_store: OpenStore
) -> None:
    """Commands, options, names with a colon, values behind an equals sign, and numbers of conversations.

    Without a completion from hermes, file names are completed. Titles are shown, but never run.
    """
    store = open_store(Paths.from_environment(home).conversations)
    store.begin((), "", title="$(touch expanded) `touch expanded` \x1b]0;x\x07 about cats")
    with shell_with_completion(name, home, tmp_path) as shell:
        (tmp_path / "work" / "notes.txt").touch()
        for line, arguments in {
            "se\t": "<sessions>",
            "sessions ex\t--al\t": "<sessions><export><--all>",
            "models pull openhermes-2:gg\t": "<models><pull><openhermes-2:gguf>",
            "ask --kv=q\t": "<ask><--kv=q8_0>",
            "chat -r \t": "<chat><-r><1>",
            "ask -f no\t": "<ask><-f><notes.txt>",
            "ask -s 'a b' --kv q\t": "<ask><-s><a b><--kv><q8_0>",
        }.items():
            enter(shell, line, arguments)
        store.begin((), "", title="$(touch expanded) about dogs")
        shell.send("hermes sessions show \t\t")
        shell.expect_exact("about dogs")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_has_no_syntax_error(name: str) -> None:
    """The shell parses it without running it."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([program, "-n", SCRIPTS / f"hermes.{name}"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
