"""The installer behind the Makefile: each way to fail is one sentence and the next step."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_cli.errors import HermesError
from tools.install import PROJECT, failure, make_environment


@pytest.mark.parametrize(
    ("output", "code", "message", "hint"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", 75, "full", "make room"),
        ("[Errno 30] Read-only file system: '.venv'", 1, "cannot be written", "VENV="),
        ("[Errno 13] Permission denied: '.venv/bin'", 1, "cannot be written", "VENV="),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: Could not find a version",
            69,
            "the package index cannot be reached",
            "HTTPS_PROXY",
        ),
        (
            "ERROR: No matching distribution found for xllamacpp==1",
            1,
            "the installation failed: No matching distribution found for xllamacpp==1",
            "install.log",
        ),
    ],
)
def test_a_failure_is_named(tmp_path: Path, output: str, code: int, message: str, hint: str) -> None:
    """The outputs are pip's own."""
    error = failure(output, tmp_path)
    assert error.exit_code == code
    assert message in error.message
    assert hint in error.hint


def test_the_whole_output_is_kept(tmp_path: Path) -> None:
    """A failure that has no sentence of its own can be looked up."""
    failure("first line\nERROR: last", tmp_path)
    assert (tmp_path / "install.log").read_text(encoding="utf-8") == "first line\nERROR: last"


def test_a_folder_in_use_is_not_replaced(tmp_path: Path) -> None:
    """`make VENV=$HOME chat` would delete a home."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(HermesError, match="no virtual environment"):
        make_environment(tmp_path)
    assert (tmp_path / "letter.txt").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The folder is named, and no traceback printed."""
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "tools.install", str(tmp_path / "file" / "venv")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("hermes: ")
    assert "Traceback" not in done.stderr


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder with nothing but the Makefile."""
    shutil.copy(PROJECT / "Makefile", folder)
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    """The message names the variable that chooses another."""
    done = make(tmp_path, "chat", "PYTHON=no-such-python")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("hermes: there is no no-such-python: install Python 3.11")
    assert "PYTHON=" in done.stderr.splitlines()[0]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    """The check runs on any version: the stand-in claims to be 3.9."""
    old = tmp_path / "python3.9"
    claim = "import sys; sys.version_info = (3, 9, 2)"
    old.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{claim}\n$2"\n')
    old.chmod(0o755)
    done = make(tmp_path, "chat", f"PYTHON={old}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("hermes: needs Python 3.11 or newer, and this is 3.9")
    assert not (tmp_path / ".venv-3.9").exists()
