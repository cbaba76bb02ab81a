"""Files of conversations: private, whole, and never over another."""

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
