"""A picture: the cells of a screen at one moment, and the cursor."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Glyph:
    """One cell. `data` is empty in the second cell of a wide character.

    A color is `default`, one of the sixteen by pyte's name, or six hexadecimal digits.
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
    """Rows of cells, all of one length. `cursor` is a column and a row, or None if it is hidden."""

    rows: Sequence[Sequence[Glyph]]
    cursor: tuple[int, int] | None = None

    def text(self) -> str:
        """Return only the characters: one line per row, without trailing blanks."""
        return "".join(f"{''.join(cell.data for cell in row).rstrip()}\n" for row in self.rows)

    def pinned(self, figures: Mapping[str, str]) -> "Picture":
        """Return the picture with each match of a pattern within one row replaced by its fixed text.

        The cells to the right of it move; the row keeps its length.
        """
        return replace(self, rows=[_pinned(row, figures) for row in self.rows])


def _pinned(row: Sequence[Glyph], figures: Mapping[str, str]) -> list[Glyph]:
    cells = list(row)
    for pattern, text in figures.items():
        characters = "".join(cell.data[:1] or "\0" for cell in cells)  # one per cell, so that indices agree
        for found in reversed([*re.finditer(pattern, characters)]):
            looks = cells[found.start()]
            cells[found.start() : found.end()] = [replace(looks, data=character) for character in text]
    return (cells + [Glyph()] * len(row))[: len(row)]
