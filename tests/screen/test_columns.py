"""Rows in columns on terminals of several widths."""

import io

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
