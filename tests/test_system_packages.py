"""Tests of the system libraries that hermes needs: how they are found, and how to install them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli import system_packages
from hermes_cli.errors import as_hermes_error
from hermes_cli.system_packages import advice, install_commands, library_named_in, missing_libraries

GOMP = "libgomp.so.1: cannot open shared object file: No such file or directory"
"""What Python 3.13 prints on a minimal Debian 13 when xllamacpp is imported."""


def test_only_linux_needs_system_libraries() -> None:
    """The wheels for macOS contain their libraries."""
    assert missing_libraries(lambda _: False, "linux") == ["libgomp.so.1", "libstdc++.so.6"]
    assert missing_libraries(lambda name: "gomp" not in name, "linux") == ["libgomp.so.1"]
    assert missing_libraries(lambda _: False, "darwin") == []


def test_can_load_finds_installed_libraries_only() -> None:
    """The dynamic loader decides."""
    assert system_packages.can_load("libc.so.6") is (sys.platform == "linux")
    assert not system_packages.can_load("libno-such-library.so.1")


@pytest.mark.parametrize(
    ("manager", "is_root", "has_sudo", "expected"),
    [
        ("apt-get", False, True, "run: sudo apt-get update && sudo apt-get install --yes libgomp1"),
        ("apt-get", False, False, "run as root: apt-get update && apt-get install --yes libgomp1"),
        ("apt-get", True, False, "run: apt-get update && apt-get install --yes libgomp1"),
        ("dnf", False, True, "run: sudo dnf install --assumeyes libgomp"),
        ("zypper", True, True, "run: zypper --non-interactive install libgomp1"),
        ("pacman", False, False, "run as root: pacman --sync --refresh --noconfirm gcc-libs"),
        ("apk", True, False, "run: apk add libgomp"),
        (None, True, True, "install libgomp.so.1 with your system's package manager"),
    ],
)
def test_advice_is_a_shell_command(manager: str | None, is_root: bool, has_sudo: bool, expected: str) -> None:  # noqa: FBT001 - a table
    """The command can be copied into a shell."""
    assert advice(["libgomp.so.1"], manager, is_root=is_root, has_sudo=has_sudo) == expected


def test_a_package_that_has_two_libraries_is_installed_once() -> None:
    """Arch Linux has both libraries in one package."""
    assert install_commands(system_packages.LIBRARIES, "pacman")[0].endswith(" gcc-libs")


def test_a_library_without_a_known_package_gets_no_command() -> None:
    """A wrong package name would be worse than none."""
    assert install_commands(["libgomp.so.1", "libunknown.so.2"], "apt-get") == []
    assert install_commands([system_packages.ENSUREPIP], "dnf") == []


def test_an_import_error_names_the_missing_library() -> None:
    """Another ImportError is reported as a bug."""
    assert library_named_in(ImportError(GOMP)) == "libgomp.so.1"
    assert library_named_in(ImportError("No module named 'libgomp'")) is None
    assert as_hermes_error(ImportError(GOMP)).exit_code == 69
    assert "bug in hermes" in as_hermes_error(ImportError("cannot import name 'x'")).hint


@pytest.fixture
def broken_library(home: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment in which xllamacpp fails to import as it does without libgomp."""
    package = tmp_path / "path" / "xllamacpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise ImportError({GOMP!r})\n")
    return {**home, "PYTHONPATH": str(package.parent), "PATH": os.environ["PATH"]}


def test_ask_names_the_library_before_it_downloads_a_model(broken_library: dict[str, str]) -> None:
    """The engine could not run the downloaded model."""
    command = [sys.executable, "-m", "hermes_cli", "ask", "hi"]
    result = subprocess.run(command, env=broken_library, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (69, "")
    assert (
        result.stderr.splitlines()[0]
        == "hermes: this system lacks libgomp.so.1, which the model's engine needs"
    )
    assert len(result.stderr.splitlines()) == 2
    assert "libgomp" in result.stderr.splitlines()[1]


def test_the_process_of_llama_cpp_reports_the_missing_library(broken_library: dict[str, str]) -> None:
    """The child process reports it to its parent."""
    code = (
        "from hermes_cli.engines.llama_cpp.settings import LlamaSettings\n"
        "from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess\n"
        "from hermes_cli.errors import ModelUnavailable\n"
        "try: LlamaProcess(LlamaSettings('model.gguf', 512, 1))\n"
        "except ModelUnavailable as error: print(error.message)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=broken_library, capture_output=True, text=True, check=False)
    assert "this system lacks libgomp.so.1" in result.stdout, result.stderr
