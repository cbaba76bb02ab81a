"""hermes runs in a folder with files from strangers, and runs none of them."""

import subprocess
import sys
from collections.abc import Mapping
from importlib import util
from pathlib import Path

import pytest

from hermes_cli.errors import UsageError
from hermes_cli.models import hardware, wheel
from hermes_cli.repl import editor
from tests.run_hermes import hermes, script
from tests.terminal.screen import PROMPT, Terminal

Env = Mapping[str, str]
ROOT = Path(__file__).parents[1]
MODULES = [
    "re",
    "json",
    "enum",
    "signal",
    "typing",
    "types",
    "collections",
    "subprocess",
    "selectors",
    "ssl",
    "ctypes",
    "zipfile",
    "platform",
    "typer",
    "rich",
    "psutil",
    "pip",
    "xllamacpp",
    "tokenizers",
    "huggingface_hub",
    "sitecustomize",
    "usercustomize",
]
PROGRAMS = [
    "nvidia-smi",
    "uv",
    "python",
    "python3",
    "nano",
    "vim",
    "vi",
    "emacs",
    "editor",
    "strange-editor",
    "uname",
    "ldconfig",
    "gcc",
    "cc",
    "git",
    "sh",
    "rocminfo",
    "ifconfig",
    "which",
]
IMPORTED_BY_RUNPY = ("collections", "types")
"""`python -m` imports these from the current folder before any of hermes' code; `python -P -m` does not."""
ENTRY_POINT = """
import os, sys
os.environ["PYTHONPATH"] = ":" + os.environ["PYTHONPATH"] + ":."
from hermes_cli.__main__ import main
sys.exit(main())
"""


def markers(strangers: Path) -> list[str]:
    """Return which of the strangers' files have been run."""
    return sorted(marker.name for marker in (strangers.parent / "markers").iterdir())


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """A folder with modules and programs whose names hermes, Python or pip search for.

    Each leaves a marker when it is run.
    """
    folder, marks = tmp_path / "strangers", tmp_path / "markers"
    folder.mkdir()
    marks.mkdir()
    for name in MODULES:
        code = f"open({str(marks / name)!r} + '.py', 'w').close()\n"
        if name == "pip":
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(code)
            (folder / name / "__main__.py").write_text(code)
        else:
            (folder / f"{name}.py").write_text(code)
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\n: > '{marks / name}'\n")
        (folder / name).chmod(0o755)
    for name in ("uv.toml", "pyproject.toml", "pip.conf"):
        (folder / name).write_text("nonsense = [")
    return folder


def remove_modules_of_runpy(strangers: Path) -> None:
    """Make the folder one in which `python -m hermes_cli` can be safe."""
    for name in IMPORTED_BY_RUNPY:
        (strangers / f"{name}.py").unlink()


@pytest.fixture
def env(home: Env) -> Env:
    """An environment with the current folder in $PATH, and without a package index."""
    return {
        **home,
        "PATH": ":.:/usr/bin:/bin:",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_RETRIES": "0",
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/",
    }


@pytest.mark.parametrize(
    ("start", "arguments"),
    [
        ("hermes", "ask hi"),
        ("hermes", "chat"),
        ("hermes", "models pull starter"),
        ("hermes", "models plan"),
        ("hermes", "doctor"),
        ("python -m", "models pull starter"),
        ("python -m", "doctor"),
        ("python -P -m", "models plan"),
    ],
)
def test_no_command_runs_the_files_of_the_current_folder(
    start: str, arguments: str, env: Env, strangers: Path, tmp_path: Path
) -> None:
    """Nor does a child process of a command."""
    if start == "python -m":
        remove_modules_of_runpy(strangers)
    _, *switches = start.split()
    entry_point = tmp_path / "hermes"  # like the installed one
    entry_point.write_text(ENTRY_POINT)
    done = subprocess.run(
        [sys.executable, *switches, "hermes_cli" if switches else str(entry_point), *arguments.split()],
        cwd=strangers,
        env=env,
        input=b"hi\n",
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode in {0, 69}, done.stderr
    assert markers(strangers) == []


def test_edit_does_not_run_an_editor_in_the_current_folder(env: Env, tmp_path: Path, strangers: Path) -> None:
    """Not even if $EDITOR names it with a path."""
    remove_modules_of_runpy(strangers)
    model = script(tmp_path, {"text": "one"})
    for name, words in (("strange-editor", r"no such file"), ("./strange-editor", r"path below the current")):
        with Terminal(["chat", "-m", model], {**env, "EDITOR": name}, folder=strangers) as term:
            term.expect(PROMPT)
            term.type("hi\r")
            term.expect(r"one\n")
            term.type("/edit\r")
            term.expect(words)
            term.type("\x03\x04")
    assert markers(strangers) == []


def test_the_editor_keeps_the_current_folder(
    tmp_path: Path, strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found only in the absolute folders of $PATH."""
    monkeypatch.chdir(strangers)
    (tmp_path / "tools").mkdir()
    own = tmp_path / "tools" / "strange-editor"
    own.write_text(f"#!/bin/sh\npwd > '{tmp_path}/where'\n")
    own.chmod(0o755)
    environ = {"EDITOR": "strange-editor", "PATH": f":.:{own.parent}:/usr/bin:/bin"}
    editor.open_file(tmp_path / "text", environ, "")
    assert (tmp_path / "where").read_text() == f"{strangers}\n"
    with pytest.raises(UsageError, match="no editor was found"):
        editor.open_file(tmp_path / "text", {"PATH": ":.:"}, "")
    assert markers(strangers) == []


@pytest.mark.parametrize("name", ["./strange-editor", "sub/ed -w", "../strangers/vi", "~/ed"])
def test_a_relative_path_of_an_editor_is_refused(persona_env: Env, name: str) -> None:
    """The hint says what $EDITOR can be."""
    result = hermes("personas", "edit", "hermes-2", env={**persona_env, "EDITOR": name})
    assert result.code == 2
    assert f"the editor {name.split(maxsplit=1)[0]} is a path below the current folder" in result.stderr
    assert "a path that begins with /" in result.stderr


@pytest.fixture
def persona_env(home: Env) -> Env:
    """An environment without $VISUAL."""
    return {**home, "VISUAL": ""}


def test_uv_is_not_taken_from_the_current_folder(strangers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pip, there is no installer then."""
    monkeypatch.chdir(strangers)
    monkeypatch.setenv("PATH", ":.:")
    monkeypatch.setattr(util, "find_spec", lambda _name: None)
    assert wheel.installers() == {}


def test_an_installer_runs_in_the_folder_of_the_download(
    tmp_path: Path, strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both read settings in the working directory; uv also in those above it, up to the first uv.toml."""
    monkeypatch.chdir(strangers)
    folder = tmp_path / "download"
    folder.mkdir()
    code = "import os; os.mkdir('wheel'); open('wheel/x.whl', 'w').write(os.getcwd() + str(os.listdir()))"
    path = wheel.download(lambda _: [sys.executable, "-P", "-c", code], folder, lambda *_: None)
    assert path.parent == folder / "wheel"
    assert path.read_text().startswith(str(folder))
    assert "uv.toml" in path.read_text()
    assert (folder / "uv.toml").read_bytes() == b""


def test_nvidia_smi_is_not_taken_from_the_current_folder(
    strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the program that `platform.processor` runs."""
    monkeypatch.chdir(strangers)
    monkeypatch.setenv("PATH", ":.:")
    assert hardware._nvidia_gpus() == ()
    assert hardware.cpu_name(strangers)
    assert markers(strangers) == []
