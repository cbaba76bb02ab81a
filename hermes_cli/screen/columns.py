"""Formats rows in columns, and formats times and counts.

Cells are sanitized, and widths are measured in terminal cells.
"""

import datetime as dt
import re
from collections.abc import Sequence

from hermes_cli.screen.cells import WORD, cell_count
from hermes_cli.screen.sanitize import sanitize_line

MAX_CELL = 300
STACKED_INDENT = 4
"""The indentation of the other cells below the first cell, if the columns are wider than the terminal."""


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Return the rows as lines, each column as wide as its widest cell. The last column is not padded."""
    clean = [[sanitize_line(cell, MAX_CELL) for cell in row] for row in rows]
    count = max((len(row) for row in clean), default=0)
    widths = [max((cell_count(row[i]) for row in clean if i < len(row)), default=0) for i in range(count)]
    return "\n".join(
        (
            indent + "  ".join(cell + " " * (widths[i] - cell_count(cell)) for i, cell in enumerate(row))
        ).rstrip()
        for row in clean
    )


def fitted(text: str, width: int, *, is_table: bool = False) -> str:
    """Return the lines wrapped between words at `width`, with each line's indentation preserved.

    If a wrapped line is laid out in columns, its continuation lines are indented to the start of the last
    column that begins in the left half of `width`. If there is none in a table, the first cell has a line of
    its own.
    """
    return "\n".join(_fitted(line, width, is_table=is_table) for line in text.split("\n"))


def _fitted(line: str, width: int, *, is_table: bool) -> str:
    if cell_count(line) <= width:
        return line
    margin = len(line) - len(line.lstrip())
    gaps = [found for found in re.finditer(r" {2,}", line) if found.start()]
    column_starts = [gap.end() for gap in gaps if gap.end() <= width // 2]
    if is_table and gaps and not column_starts:
        rest = re.sub(" {2,}", "  ", line[gaps[0].end() :])
        indent = margin + STACKED_INDENT
        return f"{line[: gaps[0].start()]}\n{_wrapped(' ' * indent + rest, width, indent)}"
    return _wrapped(line, width, column_starts[-1] if column_starts else margin)


def _wrapped(line: str, width: int, indent_size: int) -> str:
    """Return the line wrapped between words at `width`; continuation lines are indented by `indent_size`.

    A word that is longer than a row, such as a path, stays whole, so that it can be copied.
    """
    row, rows = line[:indent_size], list[str]()
    used, is_empty = cell_count(row), not row.strip()
    for word in re.findall(WORD, line[indent_size:]):
        size = cell_count(word.rstrip(" "))
        if not is_empty and used + size > width:
            rows.append(row.rstrip(" "))
            row, used, is_empty = " " * indent_size, indent_size, True
            if not size:
                continue
        row, used, is_empty = row + word, used + cell_count(word), is_empty and not size
    return "\n".join([*rows, row.rstrip(" ")])


def when(seconds: float) -> str:
    """Return a time, in seconds since 1970, as local date and time."""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def pluralize(count: int, noun: str, plural: str = "") -> str:
    """Return a count and its noun, in the plural unless the count is 1."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
