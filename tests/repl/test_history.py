"""The input history: which lines are saved, how windows share it, and the file's permissions."""

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


def test_a_line_is_saved_and_loaded_again(path: Path) -> None:
    """A line is in the history of this session and of the next."""
    first = window(path)
    for line in ("one", "two\nof two lines", "/set seed 1", "\ttab", "é日"):
        first.append_string(line)
    assert first.get_strings() == ["one", "two\nof two lines", "/set seed 1", "\ttab", "é日"]
    assert on_disk(path) == first.get_strings()[::-1]
    assert list(window(path).load_history_strings()) == on_disk(path)


@pytest.mark.parametrize("line", [" secret", "  /model x", " ", " two\nlines", "x" * (MAX_KEPT + 1)])
def test_private_and_long_lines_are_not_saved(path: Path, line: str) -> None:
    """A line that begins with a space or is longer than MAX_KEPT is not saved."""
    history = window(path)
    history.append_string("before")
    history.append_string(line)
    assert history.get_strings() == on_disk(path) == ["before"]


def test_a_line_of_the_maximum_length_is_saved(path: Path) -> None:
    """A line of MAX_KEPT characters is saved."""
    history = window(path)
    history.append_string("x" * MAX_KEPT)
    assert on_disk(path) == ["x" * MAX_KEPT]


def test_a_folded_paste_is_saved_as_its_text(path: Path) -> None:
    """The text is not saved if it is too long or begins with a space."""
    pastes = Pastes()
    history = PrivateHistory(path, lambda: True, pastes.unfold)
    text = "\n".join("abcdefghij")
    history.append_string(f"look: {pastes.fold(text)}")
    assert on_disk(path) == [f"look: {text}"]
    history.append_string(pastes.fold("x" * (MAX_KEPT + 1)))
    history.append_string(pastes.fold(" a secret" + "\n" * 10 + "x"))
    assert on_disk(path) == [f"look: {text}"]


def test_a_line_from_one_window_makes_the_other_stale(path: Path) -> None:
    """The other window reads the file again and then has the line."""
    one, two = window(path), window(path)
    one.append_string("from one")
    assert (one.is_stale, two.is_stale) == (False, True)
    two = window(path)  # as the prompt does before it reads the next line
    assert not two.is_stale
    two.append_string("from two")
    assert (one.is_stale, two.is_stale) == (True, False)
    assert on_disk(path) == ["from two", "from one"]


def test_a_stale_window_is_still_stale_after_it_writes(path: Path) -> None:
    """A window that adds a line must still read the lines that another window added before it."""
    one, two = window(path), window(path)
    one.append_string("from one")
    two.append_string("from two")
    assert two.is_stale
    assert on_disk(path) == ["from two", "from one"]


def test_a_line_that_is_not_saved_makes_no_window_stale(path: Path) -> None:
    """A line that begins with a space changes no file."""
    one, two = window(path), window(path)
    one.append_string(" secret")
    assert (one.is_stale, two.is_stale) == (False, False)


def test_lines_are_only_in_memory_while_writing_is_off(path: Path) -> None:
    """A line that is typed while writing is off is not saved later either."""
    may_write = True
    history = PrivateHistory(path, lambda: may_write)
    history.append_string("before")
    size = path.stat().st_size
    may_write = False
    history.append_string("secret")
    assert path.stat().st_size == size
    assert b"secret" not in path.read_bytes()
    assert history.get_strings() == ["before", "secret"], "the arrow keys still recall it"
    may_write = True
    history.append_string("after")
    assert on_disk(path) == ["after", "before"]


def test_only_the_owner_can_read_the_history(path: Path) -> None:
    """The file has mode 600, its folder 700."""
    history = window(path)
    assert path.stat().st_mode & 0o777 == 0o600
    history.append_string("x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_line_is_kept_in_memory_if_the_file_cannot_be_written(path: Path) -> None:
    """A write error raises no exception and makes the history stale."""
    history = window(path)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("a file in the folder's place")
    history.append_string("one")
    assert history.get_strings() == ["one"]
    assert history.is_stale


def test_a_folder_that_cannot_be_created_raises_oserror(tmp_path: Path) -> None:
    """The history cannot be opened if a file has the name of its folder."""
    (tmp_path / "state").write_text("a file in the folder's place")
    with pytest.raises(OSError, match=r"exists|directory"):
        window(tmp_path / "state" / "history")
