"""Runs the console blocks of the documentation, and compares what they print with what the page shows.

The answers of a model are given by the scripted engine; `answers.toml` has the answer to each command. They
were recorded with the starter (`--temperature 0`, for Edward Elric `--seed 1`). In a page, `…` stands for any
text in a line, and a line of only `…` for any lines. The plans are those of a machine with an RTX 3070.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.test_models import set_hardware
from tests.docs.pages import PAGES, ROOT, blocks, name
from tests.models.plan.machines import gpu, machine
from tests.models.plan.test_offload import device, with_llama
from tests.run_hermes import hermes, script

ANSWERS = tomllib.loads((Path(__file__).parent / "answers.toml").read_text(encoding="utf-8"))
BLOCKS = [(name(page), block) for page in PAGES for block in blocks(page, "console")]
PLAN = "hermes models plan "


@dataclass(frozen=True, slots=True)
class Example:
    """A command line and the output that the page shows."""

    command: str
    output: str


def examples(block: str) -> list[Example]:
    """Return the examples of a block: each line that begins with `$ ` is a command."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [Example(*part.split("\n", 1)) for part in parts]


def matches(expected: str, actual: str) -> bool:
    """Return whether an output is the one that a page shows."""
    lines = [
        "(?s:.*)" if line == "…" else re.escape(line).replace("…", "[^\n]*")
        for line in expected.rstrip("\n").split("\n")
    ]
    return re.fullmatch("\n".join(lines), actual.rstrip("\n")) is not None


def shell(command: str, env: Mapping[str, str], folder: Path) -> str:
    """Return what a command prints in a shell, on both streams in their order."""
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=folder,
        check=False,
        timeout=60,
    )
    return done.stdout.decode()


@pytest.fixture
def user_shell(home: Mapping[str, str], tmp_path: Path) -> Mapping[str, str]:
    """An environment in which `hermes` is a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "hermes").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m hermes_cli "$@"\n')
    (folder / "hermes").chmod(0o755)
    return {**home, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(BLOCKS)])
def test_an_example_prints_what_its_page_shows(
    page: str, block: str, user_shell: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of a block run one after the other in an empty folder."""
    set_hardware(monkeypatch, machine(gpu("RTX 3070", 8, 7.6, (8, 6)), free=27))
    folder = tmp_path / "work"
    folder.mkdir()
    for example in examples(block):
        if example.command.startswith(PLAN):
            if ":gguf" in example.command:
                set_hardware(monkeypatch, with_llama(device("RTX 3070", 8, 5.2), free=27))
            result = hermes(*example.command.split()[1:], env=user_shell)
            output = result.stdout.decode()
        else:
            answer = ANSWERS.get(example.command)
            env = (
                {**user_shell, "OPENHERMES_MODEL": script(tmp_path, {"text": answer})}
                if answer
                else user_shell
            )
            output = shell(example.command, env, folder)
        assert matches(example.output, output), f"{page}: {example.command} prints\n{output}"


def test_every_recorded_answer_is_used() -> None:
    """No answer is left over from an example that was removed."""
    commands = {example.command for _, block in BLOCKS for example in examples(block)}
    assert {*ANSWERS} <= commands


def test_a_wildcard_matches_only_where_it_stands() -> None:
    """`…` matches within a line, a line of `…` over lines, and everything else is compared."""
    assert matches("a … c\n…\nend\n", "a b c\nx\ny\nend\n")
    assert not matches("a … c\n", "a b\nc\n")
    assert not matches("a\n", "a\nb\n")


def test_bash_is_installed() -> None:
    """The examples need it."""
    assert shutil.which("bash")
