"""The input history: which lines are kept, how windows share it, and the file's permissions."""

from pathlib import Path

import pytest
from prompt_toolkit.history import FileHistory

from hermes_cli.repl.folded_paste import Pastes
from hermes_cli.repl.history import MAX_KEPT, PrivateHistory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a history file that does not exist, in a folder that does not exist."""
    return tmp_path / "state" / "history"


def window(path: Path, *, is_open: bool = True) -> PrivateHistory:
    """Return the history of another window."""
    return PrivateHistory(path, lambda: is_open)


def on_disk(path: Path) -> list[str]:
    """Return the entries as prompt_toolkit reads them, newest first."""
    return list(FileHistory(str(path)).load_history_strings())


def test_a_line_is_kept_and_comes_back(path: Path) -> None:
    """A line is in the history of this session and of the next."""
    first = window(path)
    for line in ("one", "two\nof two lines", "/set seed 1", "\ttab", "é日"):
        first.append_string(line)
    assert first.get_strings() == ["one", "two\nof two lines", "/set seed 1", "\ttab", "é日"]
    assert on_disk(path) == first.get_strings()[::-1]
    assert list(window(path).load_history_strings()) == on_disk(path)


@pytest.mark.parametrize("line", [" secret", "  /model x", " ", " two\nlines", "x" * (MAX_KEPT + 1)])
def test_some_lines_are_not_kept(path: Path, line: str) -> None:
    """A line that begins with a space or is longer than MAX_KEPT is not kept."""
    here = window(path)
    here.append_string("before")
    here.append_string(line)
    assert here.get_strings() == on_disk(path) == ["before"]


def test_the_longest_line_that_is_kept(path: Path) -> None:
    """A line of MAX_KEPT characters is kept."""
    here = window(path)
    here.append_string("x" * MAX_KEPT)
    assert on_disk(path) == ["x" * MAX_KEPT]


def test_a_folded_paste_is_kept_as_what_was_sent(path: Path) -> None:
    """A folded paste is kept as its text, and not if that is too long or begins with a space."""
    pastes = Pastes()
    here = PrivateHistory(path, lambda: True, pastes.unfold)
    text = "\n".join("abcdefghij")
    here.append_string(f"look: {pastes.fold(text)}")
    assert on_disk(path) == [f"look: {text}"]
    here.append_string(pastes.fold("x" * (MAX_KEPT + 1)))
    here.append_string(pastes.fold(" a secret" + "\n" * 10 + "x"))
    assert on_disk(path) == [f"look: {text}"]


def test_what_one_window_adds_the_other_sees(path: Path) -> None:
    """A line that one window adds makes the other stale, and is in that one once it is read again."""
    one, two = window(path), window(path)
    one.append_string("from one")
    assert (one.is_stale, two.is_stale) == (False, True)
    two = window(path)  # as the prompt does before it reads the next line
    assert not two.is_stale
    two.append_string("from two")
    assert (one.is_stale, two.is_stale) == (True, False)
    assert on_disk(path) == ["from two", "from one"]


def test_what_the_others_wrote_is_not_missed_by_writing_oneself(path: Path) -> None:
    """A window that adds a line stays stale if another window wrote before it."""
    one, two = window(path), window(path)
    one.append_string("from one")
    two.append_string("from two")
    assert two.is_stale
    assert on_disk(path) == ["from two", "from one"]


def test_a_line_that_is_not_kept_makes_nothing_stale(path: Path) -> None:
    """A line that is not kept makes no window stale."""
    one, two = window(path), window(path)
    one.append_string(" secret")
    assert (one.is_stale, two.is_stale) == (False, False)


def test_nothing_is_written_while_nothing_may_be(path: Path) -> None:
    """While writing is off, lines are kept in memory only."""
    open_now = True
    here = PrivateHistory(path, lambda: open_now)
    here.append_string("before")
    size = path.stat().st_size
    open_now = False
    here.append_string("secret")
    assert path.stat().st_size == size
    assert b"secret" not in path.read_bytes()
    assert here.get_strings() == ["before", "secret"], "the arrow keys have it in this run"
    open_now = True
    here.append_string("after")
    assert on_disk(path) == ["after", "before"]


def test_it_is_for_its_owner_alone(path: Path) -> None:
    """The file has mode 600, its folder 700."""
    here = window(path)
    assert path.stat().st_mode & 0o777 == 0o600
    here.append_string("x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_cannot_be_written_does_not_end_the_conversation(path: Path) -> None:
    """If the file cannot be written, the line is kept in memory and the history is stale."""
    here = window(path)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("a file in the folder's place")
    here.append_string("one")
    assert here.get_strings() == ["one"]
    assert here.is_stale


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A folder that cannot be created raises OSError."""
    (tmp_path / "state").write_text("a file in the folder's place")
    with pytest.raises(OSError, match=r"exists|directory"):
        window(tmp_path / "state" / "history")
