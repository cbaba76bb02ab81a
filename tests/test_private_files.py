"""Tests of files that are private and whole, and replaced only on request."""

import os
import stat
from pathlib import Path

import pytest

from hermes_cli.errors import HermesError, UsageError
from hermes_cli.private_files import write_private


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """A written file has mode 0600, whatever the umask and the file that it replaces."""
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


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """An existing file or link is not replaced unless requested."""
    (tmp_path / "a.md").write_text("theirs")
    (tmp_path / "link.md").symlink_to(tmp_path / "nowhere")
    for name in ("a.md", "link.md"):
        with pytest.raises(UsageError, match="already a file"):
            write_private(tmp_path / name, b"mine")
    assert (tmp_path / "a.md").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "link.md"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A path that cannot be written is refused with an error."""
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
