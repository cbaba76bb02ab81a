"""A picture: the cells of a screen at one moment, and the cursor."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyte.screens import Char

Row = Sequence[Char]
"""Cells as pyte has them, but with dim in the attribute blink. The second cell of a wide character is empty."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows of cells, all of one length. `cursor` is a column and a row, or None if it is hidden."""

    rows: Sequence[Row]
    cursor: tuple[int, int] | None = None

    def text(self) -> str:
        """Return only the characters: one line per row, without trailing blanks."""
        return "".join(f"{''.join(cell.data for cell in row).rstrip()}\n" for row in self.rows)

    def pinned(self, figures: Mapping[str, str]) -> "Picture":
        """Return the picture with each match of a pattern within one row replaced by its fixed text.

        The cells to the right of it move; the row keeps its length.
        """
        return replace(self, rows=[_pinned(row, figures) for row in self.rows])


def _pinned(row: Row, figures: Mapping[str, str]) -> list[Char]:
    cells = list(row)
    for pattern, text in figures.items():
        characters = "".join(cell.data[:1] or "\0" for cell in cells)  # one per cell, so that indices agree
        for found in reversed([*re.finditer(pattern, characters)]):
            style = cells[found.start()]
            cells[found.start() : found.end()] = [style._replace(data=character) for character in text]
    return (cells + [Char(" ")] * len(row))[: len(row)]
