"""Tests of the names of exported files and of reading files."""

from pathlib import Path

import pytest

from hermes_cli.errors import UsageError
from hermes_cli.formats import files


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
def test_a_title_gives_a_safe_file_name(tmp_path: Path, title: str, name: str) -> None:
    """The file name has only safe characters of the title, and a number if the file exists."""
    assert files.file_name(title, ".md", tmp_path) == tmp_path / name
    (tmp_path / name).write_text("")
    assert files.file_name(title, ".md", tmp_path) == tmp_path / name.replace(".md", "-2.md")
    assert files.place(str(tmp_path), title, ".md").name == name.replace(".md", "-2.md")


def test_an_unreadable_path_is_refused_with_a_reason(tmp_path: Path) -> None:
    """A folder, a missing file, an invalid path and an unknown user are refused with a reason."""
    for path, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "x", "no file"),
        (Path("\0"), "is not a path"),
    ):
        with pytest.raises(UsageError, match=reason):
            files.read_bytes(path)
    with pytest.raises(UsageError, match="nobody"):
        files.place("~nobody-of-that-name/x", "t", ".md")
