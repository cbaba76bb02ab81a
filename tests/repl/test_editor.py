"""Editors that do not leave a text file behind."""

import tempfile
from pathlib import Path

import pytest

from hermes_cli.errors import UsageError
from hermes_cli.repl import editor


def edit(folder: Path, script: str) -> str:
    """Return the text after an editor with this script, which gets the file as $1."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return editor.edited("before", {"EDITOR": str(program), "PATH": "/usr/bin:/bin"})


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('rm "$1"', "there is no file"),
        ('rm "$1"; mkdir "$1"; touch "$1/x"', "the edited text is a folder"),
        ('rm "$1"; mkfifo "$1"', "the edited text is not a regular file"),
        ('rm "$1"; ln -s /dev/zero "$1"', "the edited text is not a regular file"),
        ('rm "$1"; ln -s "$1" "$1"', "the edited text cannot be read"),
        ("kill -9 $$", "was ended by signal 9"),
        ("exit 3", "exited with 3"),
    ],
)
def test_an_editor_that_leaves_no_text_is_reported(tmp_path: Path, script: str, reason: str) -> None:
    """The message has the reason, and hermes neither waits nor reads without a limit."""
    with pytest.raises(UsageError, match=reason) as caught:
        edit(tmp_path, script)
    assert caught.value.hint == "the line is unchanged"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('truncate -s 1G "$1"', "the edited text is larger than 64 MiB"),
        ("printf 'caf\\351' > \"$1\"", "the edited text is not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_used_is_kept(tmp_path: Path, script: str, reason: str) -> None:
    """The hint has its path, in a folder that only the user can open."""
    with pytest.raises(UsageError, match=reason) as caught:
        edit(tmp_path, script)
    path = Path(caught.value.hint.removeprefix("the line is unchanged; your text is in "))
    assert path.stat().st_size
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.unlink()
    path.parent.rmdir()


def test_the_copies_that_an_editor_leaves_are_removed(tmp_path: Path) -> None:
    """An editor may keep a backup copy beside the file, which would keep the text on the disk."""
    place = tmp_path / "place"
    where = f'dirname "$1" > "{place}"; stat -c %a "$(dirname "$1")" >> "{place}"'
    assert edit(tmp_path, f"""cp "$1" "$1~"; {where}; printf 'after\\n\\n' > "$1" """) == "after\n"
    folder, mode = place.read_text().split()
    assert (mode, Path(folder).parent) == ("700", Path(tempfile.gettempdir()))
    assert not Path(folder).exists()
