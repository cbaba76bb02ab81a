"""Files of conversations: private, whole, and never over another."""

import os
import stat
from pathlib import Path

import pytest

from hermes_cli.errors import HermesError, UsageError
from hermes_cli.formats import files


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Broken: everybody on the machine could read what was said."""
    before = os.umask(0)
    try:
        files.write_private(tmp_path / "a.md", "x\r\n\u2028")
        (tmp_path / "b.md").write_text("theirs")
        (tmp_path / "b.md").chmod(0o666)
        files.write_private(tmp_path / "b.md", "mine", replace=True)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.md", "b.md")] == [0o600, 0o600]
    assert (tmp_path / "a.md").read_bytes() == "x\r\n\u2028".encode()
    assert (tmp_path / "b.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "b.md"]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Broken: an export would overwrite something else, without a word."""
    (tmp_path / "a.md").write_text("theirs")
    (tmp_path / "link.md").symlink_to(tmp_path / "nowhere")
    for name in ("a.md", "link.md"):
        with pytest.raises(UsageError, match="already a file"):
            files.write_private(tmp_path / name, "mine")
    assert (tmp_path / "a.md").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "link.md"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Broken: a typo in a folder's name would be a traceback."""
    (tmp_path / "file").write_text("")
    for path in (
        tmp_path / "no" / "a.md",
        tmp_path / "file" / "a.md",
        tmp_path / "a\0.md",
        Path("/proc/a.md"),
    ):
        with pytest.raises(HermesError, match="cannot be written"):
            files.write_private(path, "x")
    with pytest.raises(HermesError, match="cannot be written"):
        files.write_private(tmp_path, "x", replace=True)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("What is a river?", "What-is-a-river.md"),
        ("../../etc/passwd", "etc-passwd.md"),
        (".ssh\0\x1b[2J", "ssh-2J.md"),
        ("Übung: süß…", "Übung-süß.md"),
        ("-rf *", "rf.md"),
        ("???", "conversation.md"),
        ("", "conversation.md"),
        ("語" * 100, "語" * 40 + ".md"),
    ],
)
def test_a_title_makes_a_safe_name(tmp_path: Path, title: str, name: str) -> None:
    """Broken: a title that a model or a stranger wrote would choose where a file goes."""
    assert files.file_name(title, ".md", tmp_path) == tmp_path / name
    (tmp_path / name).write_text("")
    assert files.file_name(title, ".md", tmp_path) == tmp_path / name.replace(".md", "-2.md")
    assert files.place(str(tmp_path), title, ".md").name == name.replace(".md", "-2.md")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Broken: a wrong name would be a traceback."""
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "x", "no file"),
        (Path("\0"), "cannot be read"),
    ):
        with pytest.raises(UsageError, match=words):
            files.read_bytes(path)
    with pytest.raises(UsageError, match="nobody"):
        files.place("~nobody-of-that-name/x", "t", ".md")
