"""Tests of files that only their owner can read, and that are replaced only on request."""

import os
import stat
from pathlib import Path

import pytest

from hermes_cli.errors import HermesError, UsageError
from hermes_cli.private_files import write_private


def test_only_the_owner_can_read_a_written_file(tmp_path: Path) -> None:
    """Neither the umask nor the mode of a replaced file changes that."""
    before = os.umask(0)
    try:
        write_private(tmp_path / "a.md", b"x")
        (tmp_path / "b.md").write_text("theirs")
        (tmp_path / "b.md").chmod(0o666)
        write_private(tmp_path / "b.md", b"mine", replace=True)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.md", "b.md")] == [0o600, 0o600]
    assert (tmp_path / "a.md").read_bytes() == b"x"
    assert (tmp_path / "b.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "b.md"]


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    """Nor is an existing link."""
    (tmp_path / "a.md").write_text("theirs")
    (tmp_path / "link.md").symlink_to(tmp_path / "nowhere")
    for name in ("a.md", "link.md"):
        with pytest.raises(UsageError, match="already a file"):
            write_private(tmp_path / name, b"mine")
    assert (tmp_path / "a.md").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "link.md"]


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The parent is missing or a file, the name is invalid, or the path is a folder."""
    (tmp_path / "file").write_text("")
    for path in (
        tmp_path / "no" / "a.md",
        tmp_path / "file" / "a.md",
        tmp_path / "a\0.md",
        Path("/proc/a.md"),
    ):
        with pytest.raises(HermesError, match="cannot be written"):
            write_private(path, b"x")
    with pytest.raises(HermesError, match="cannot be written"):
        write_private(tmp_path, b"x", replace=True)
