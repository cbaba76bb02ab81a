"""Rows in columns on terminals of several widths."""

import fcntl
import io
import os
import pty
import struct
import termios
import textwrap
from pathlib import Path

import pytest

from hermes_cli.screen.columns import columns, fitted
from hermes_cli.screen.terminal import Terminal

ROWS = columns(
    [
        ("/swipe [left|right|N]", "Show another answer to the same turn, or generate one."),
        ("/exit", "Leave hermes; Ctrl-D does the same."),
    ],
    indent="  ",
)


def test_a_long_cell_continues_in_its_column() -> None:
    """Lines break between words."""
    assert fitted(ROWS, 60, is_table=True) == (
        "  /swipe [left|right|N]  Show another answer to the same\n"
        "                         turn, or generate one.\n"
        "  /exit                  Leave hermes; Ctrl-D does the same."
    )


def test_a_narrow_terminal_shows_each_row_as_several() -> None:
    """The first cell has a line of its own, and the others are indented below it."""
    assert fitted(ROWS, 40, is_table=True) == (
        "  /swipe [left|right|N]\n"
        "      Show another answer to the same\n"
        "      turn, or generate one.\n"
        "  /exit\n"
        "      Leave hermes; Ctrl-D does the\n      same."
    )
    option = columns([("repetition_penalty", "1.1", "0.1 to 10", "default")], indent="  ")
    assert fitted(option, 40, is_table=True) == ("  repetition_penalty\n      1.1  0.1 to 10  default")


def test_only_tables_are_shown_as_several_rows() -> None:
    """Two spaces in a sentence are no column."""
    assert fitted("A first sentence here.  A second one.", 30) == "A first sentence here.  A\nsecond one."


def test_rows_on_standard_output_are_fitted_to_a_terminal_only() -> None:
    """A pipe gets one line for each row."""
    row = "name" + "  " + "word " * 30
    for is_tty, count in ((False, 1), (True, 2)):
        out = io.BytesIO()
        Terminal(io.BytesIO(), out, io.StringIO(), False, is_tty, False).write_rows(row)  # noqa: FBT003 - see tests/run_hermes.py
        lines = out.getvalue().decode().splitlines()
        assert len(lines) == count
        assert all(len(line) <= 80 for line in lines) == is_tty


def test_words_that_are_longer_than_a_row_stay_whole() -> None:
    """A path or a command can be copied. An indentation is kept."""
    path = "/home/ann/" + "folder/" * 6
    assert fitted(f"Downloading the starter (98 MB) to {path} now", 30) == (
        f"Downloading the starter (98\nMB) to\n{path}\nnow"
    )
    assert fitted(f"  {path} now", 20) == f"  {path}\n  now"


def test_lines_break_between_ideographs_and_by_their_width_in_cells() -> None:
    """Each ideograph takes two cells."""
    assert fitted("\u6f22" * 7, 10) == "\u6f22" * 5 + "\n" + "\u6f22" * 2


@pytest.mark.parametrize("is_tty", [False, True])
def test_notices_and_information_break_between_words_at_a_terminal_only(*, is_tty: bool) -> None:
    """Text whose lines must stay as they are is not wrapped."""
    text = "word " * 30 + "end"
    for method, is_wrapped in ((Terminal.notice, is_tty), (Terminal.prose, is_tty), (Terminal.plain, False)):
        err = io.StringIO()
        method(Terminal(io.BytesIO(), io.BytesIO(), err, False, False, is_tty), text)  # noqa: FBT003 - see tests/run_hermes.py
        lines = err.getvalue().splitlines()
        assert lines == (textwrap.wrap(text, 80) if is_wrapped else [text])


def test_the_width_is_that_of_the_terminal_on_standard_error_if_standard_output_is_a_file(
    tmp_path: Path,
) -> None:
    """The answer goes to the file, the notices to the terminal."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as err, (tmp_path / "out").open("wb") as out:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        assert Terminal(io.BytesIO(), out, err, False, False, True).size() == (40, 10)  # noqa: FBT003
    os.close(master)


def test_a_question_breaks_before_its_brackets() -> None:
    """The answer is typed in the row of the brackets."""
    master, slave = pty.openpty()
    question = "Delete this conversation permanently? [y/N] "
    for width, asked in ((40, "Delete this conversation\npermanently? [y/N] "), (60, question)):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, width, 0, 0))
        with os.fdopen(os.dup(slave), "wb") as out:
            err = io.StringIO()
            Terminal(io.BytesIO(b"n\n"), out, err, False, True, True).ask(question)  # noqa: FBT003
        assert err.getvalue() == asked
    os.close(slave)
    os.close(master)
