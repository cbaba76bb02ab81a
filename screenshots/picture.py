"""A picture: the cells of a screen as they stood at one moment, and the cursor.

It knows characters and how each one looks. It refuses to know what drew them and what they become: a text
file here, an SVG in `svg.py`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Glyph:
    """One cell. `data` is empty in the second cell of a wide character.

    A colour is `default`, one of the sixteen by pyte's name, or six hexadecimal digits.
    """

    data: str = " "
    ink: str = "default"
    behind: str = "default"
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underlined: bool = False
    struck: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows of cells, all of one length. `cursor` is a column and a row, or None where it is hidden."""

    rows: Sequence[Sequence[Glyph]]
    cursor: tuple[int, int] | None = None

    def text(self) -> str:
        """Return the characters alone: a line a row, without blanks at the ends."""
        return "".join(f"{''.join(cell.data for cell in row).rstrip()}\n" for row in self.rows)

    def pinned(self, figures: Mapping[str, str]) -> "Picture":
        """Return the picture with a text of its own for whatever a pattern matches within one row.

        What stands to the right of it moves up; the row keeps its length.
        """
        return replace(self, rows=[_pinned(row, figures) for row in self.rows])


def _pinned(row: Sequence[Glyph], figures: Mapping[str, str]) -> list[Glyph]:
    cells = list(row)
    for pattern, text in figures.items():
        characters = "".join(cell.data[:1] or "\0" for cell in cells)  # one a cell, so that places agree
        for found in reversed([*re.finditer(pattern, characters)]):
            looks = cells[found.start()]
            cells[found.start() : found.end()] = [replace(looks, data=character) for character in text]
    return (cells + [Glyph()] * len(row))[: len(row)]
