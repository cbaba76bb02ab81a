"""Child processes: where their programs are searched, and the limits on their time and output."""

import os
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from hermes_cli import child_process, search_paths
from hermes_cli.child_process import NEUTRAL_FOLDER, capture, find_program, run

SHOW = "import json, os, sys; print(json.dumps([os.getcwd(), sys.path, dict(os.environ)]))"


def program(folder: Path, name: str, text: str = "") -> Path:
    """Write a shell script, and return its path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_only_absolute_entries_of_path_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty, dotted or relative entry is skipped."""
    monkeypatch.chdir(tmp_path)
    program(tmp_path, "tool")
    for path in ("", ":", ".", ":.:/usr/bin", "./:..", f"../{tmp_path.name}"):
        assert find_program("tool", {"PATH": path}) is None
    assert find_program("tool", {"PATH": f".:{tmp_path}"}) == str(tmp_path / "tool")
    assert find_program("tool", {}) is None


@pytest.mark.parametrize("name", ["", "./tool", "sub/tool", "../tool"])
def test_a_relative_path_is_not_a_program(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is an empty name."""
    monkeypatch.chdir(tmp_path)
    program(tmp_path, "tool")
    assert find_program(name, {"PATH": str(tmp_path)}) is None
    with pytest.raises(FileNotFoundError, match="No such file"):
        run([name])


def test_a_child_process_gets_no_relative_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its working directory is a neutral one, and Python searches no module in the current one."""
    monkeypatch.chdir(tmp_path)
    for name in search_paths.VARIABLES:
        monkeypatch.setenv(name, ":.:/one:sub:/two")
    code = f"import sys; assert {str(tmp_path)!r} not in sys.path; {SHOW}"
    done = capture(child_process.python_command("-c", code), timeout_s=60)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert text.startswith(f'["{NEUTRAL_FOLDER}"')
    assert text.count('"/one:/two"') == len(search_paths.VARIABLES)


def test_an_empty_path_is_replaced_by_the_systems() -> None:
    """An empty $PATH would be the current folder."""
    assert search_paths.without_current_folder({"PATH": ".", "X": "."}) == {"PATH": os.defpath, "X": "."}


def test_an_absolute_entry_of_pythonpath_stays_in_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty entry is removed, unless the same folder is also named by an absolute entry."""
    monkeypatch.chdir(tmp_path)
    for value, path in ((":/one", ["/one"]), (f":/one:{tmp_path}", ["/one", str(tmp_path)])):
        monkeypatch.setenv("PYTHONPATH", value)
        monkeypatch.setattr(sys, "path", ["/one", str(tmp_path)])
        search_paths.leave_current_folder(runs_as_module=False)
        assert sys.path == path


def test_a_deleted_current_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be searched there."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    monkeypatch.setenv("PYTHONPATH", ":/one:sub")
    monkeypatch.setenv("PATH", ".:/usr/bin")
    monkeypatch.setattr(sys, "path", ["", "/one", "sub"])
    search_paths.leave_current_folder(runs_as_module=True)
    assert (sys.path, os.environ["PATH"], os.environ["PYTHONPATH"]) == (["/one"], "/usr/bin", "/one")


def test_output_is_limited(tmp_path: Path) -> None:
    """A program that prints without end is killed after the first bytes."""
    endless = program(tmp_path, "endless", "exec cat /dev/zero")
    for redirection in ("", " >&2"):
        program(tmp_path, "endless", f"cat /dev/zero{redirection}")
        tracemalloc.start()
        try:
            with pytest.raises(child_process.OutputTooLong):
                capture([str(endless)], timeout_s=60)
            assert tracemalloc.get_traced_memory()[1] < 10 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "command", ["trap '' TERM INT; sleep 60", "sleep 60 & exit 0", "exec sleep 60 >&- 2>&-"]
)
def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path, command: str) -> None:
    """It may ignore signals, leave a process behind that keeps its output open, or close its output."""
    started = time.monotonic()
    with pytest.raises(child_process.TimeoutExpired):
        capture([str(program(tmp_path, "hangs", f"echo $$ > {tmp_path}/pid; {command}"))], timeout_s=0.5)
    assert time.monotonic() - started < 10
    group = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 5  # the system reaps the orphans
    while _exists(group) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _exists(group)


def _exists(group: int) -> bool:
    """Return whether a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
