"""Tests of the installer that the Makefile runs: each failure has a message and a hint."""

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
def test_a_pip_failure_gets_a_message_and_a_hint(
    tmp_path: Path, output: str, code: int, message: str, hint: str
) -> None:
    """The outputs are pip's."""
    error = failure(output, tmp_path)
    assert error.exit_code == code
    assert message in error.message
    assert hint in error.hint


def test_the_output_of_pip_is_saved_in_install_log(tmp_path: Path) -> None:
    """The user can read it if the message is not enough."""
    failure("first line\nERROR: last", tmp_path)
    assert (tmp_path / "install.log").read_text(encoding="utf-8") == "first line\nERROR: last"


def test_a_folder_that_is_no_environment_is_not_replaced(tmp_path: Path) -> None:
    """Otherwise `make VENV=$HOME chat` would delete the home folder."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(HermesError, match="no virtual environment"):
        make_environment(tmp_path)
    assert (tmp_path / "letter.txt").exists()


def test_a_path_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """There is no traceback."""
    (tmp_path / "file").touch()
    result = subprocess.run(
        [sys.executable, "-m", "tools.install", str(tmp_path / "file" / "venv")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("hermes: ")
    assert "Traceback" not in result.stderr


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder with nothing but the Makefile."""
    shutil.copy(PROJECT / "Makefile", folder)
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_python_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    """The message names the variable PYTHON, which selects another interpreter."""
    result = make(tmp_path, "chat", "PYTHON=no-such-python")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith("hermes: there is no no-such-python: install Python 3.11")
    assert "PYTHON=" in result.stderr.splitlines()[0]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_python_that_is_too_old_is_refused(tmp_path: Path) -> None:
    """The test runs on any version: a stand-in claims to be Python 3.9."""
    old = tmp_path / "python3.9"
    claim = "import sys; sys.version_info = (3, 9, 2)"
    old.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{claim}\n$2"\n')
    old.chmod(0o755)
    result = make(tmp_path, "chat", f"PYTHON={old}")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith("hermes: needs Python 3.11 or newer, and this is 3.9")
    assert not (tmp_path / ".venv-3.9").exists()
