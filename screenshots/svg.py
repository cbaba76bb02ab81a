"""A picture as SVG: a rectangle for each colored run of cells, and a text for each run of one style.

The file is self-contained. It uses the viewer's fonts, and each run has an explicit width, so that the
columns are aligned in any font. Equal pictures give equal files.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from xml.sax.saxutils import escape

from screenshots.palette import Palette
from screenshots.picture import Glyph, Picture

FONT_PX = 14
CELL_WIDTH, CELL_HEIGHT = 8.4, 18
BASELINE = 13.5
"""Distance from the upper edge of a cell to the baseline of the text."""
MARGIN = 12
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
CLASSES = {"bold": "b", "dim": "d", "italic": "i", "underlined": "u", "struck": "s"}
CSS = (
    f"text{{font:{FONT_PX}px {FONTS}}}"
    ".b{font-weight:bold}.i{font-style:italic}.d{fill-opacity:.65}"
    ".u{text-decoration:underline}.s{text-decoration:line-through}"
    ".u.s{text-decoration:underline line-through}"
)

_STRETCH = re.compile("w|x+(?: x+)*")
"""The cell shapes of a run that becomes one text. Double blanks split it, since XML would merge them."""


def svg(picture: Picture, palette: Palette, title: str) -> str:
    """Return the picture in the palette's colors, with a title for screen readers."""
    columns, rows = len(picture.rows[0]), len(picture.rows)
    width, height = columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    size = f'width="{_number(width)}" height="{_number(height)}"'
    inside = f'width="{_number(width - 1)}" height="{_number(height - 1)}"'
    box = f'viewBox="0 0 {_number(width)} {_number(height)}"'
    colours = f'fill="{palette.background}" stroke="{palette.frame}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {box}>',
        f"<title>{escape(title)}</title>",
        f"<style>{CSS}</style>",
        f'<rect x="0.5" y="0.5" {inside} rx="6" {colours}/>',
        f'<g transform="translate({MARGIN} {MARGIN})" fill="{palette.foreground}">',
    ]
    for number, row in enumerate(_with_cursor(picture)):
        lines += _row(row, number, palette)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _with_cursor(picture: Picture) -> list[list[Glyph]]:
    """Return the rows with the cursor as a block, which has the colors of its cell reversed."""
    rows = [list(row) for row in picture.rows]
    if picture.cursor is not None:
        column, number = picture.cursor
        row = rows[number]
        column = min(column, len(row) - 1)
        for place in (column, column + 1):
            if place == column or (place < len(row) and not row[place].data):
                row[place] = replace(row[place], reverse=not row[place].reverse)
    return rows


def _row(row: Sequence[Glyph], number: int, palette: Palette) -> Iterator[str]:
    """Yield a row's elements. Backgrounds come first, so as not to cover the overhang of adjacent text."""
    stretches, column = [], 0
    for look, group in groupby(row, key=lambda cell: replace(cell, data="")):
        cells = list(group)
        stretches.append((column, look, cells))
        column += len(cells)
    for column, look, cells in stretches:
        _, behind = _colours(look, palette)
        if behind != palette.background:
            yield (
                f'<rect x="{_number(column * CELL_WIDTH)}" y="{number * CELL_HEIGHT}" '
                f'width="{_number(len(cells) * CELL_WIDTH)}" height="{CELL_HEIGHT}" fill="{behind}"/>'
            )
    for column, look, cells in stretches:
        yield from _texts(column, number, look, cells, palette)


def _texts(column: int, number: int, look: Glyph, cells: Sequence[Glyph], palette: Palette) -> Iterator[str]:
    ink, _ = _colours(look, palette)
    classes = " ".join(short for field, short in CLASSES.items() if getattr(look, field))
    attributes = (f' class="{classes}"' if classes else "") + (
        f' fill="{ink}"' if ink != palette.foreground else ""
    )
    for found in _STRETCH.finditer(_shapes(cells)):
        text = "".join(cell.data for cell in cells[found.start() : found.end()])
        taken = 2 if found[0] == "w" else len(found[0])
        yield (
            f'<text x="{_number((column + found.start()) * CELL_WIDTH)}" '
            f'y="{_number(number * CELL_HEIGHT + BASELINE)}" '
            f'textLength="{_number(taken * CELL_WIDTH)}"{attributes}>{escape(text)}</text>'
        )


def _shapes(cells: Sequence[Glyph]) -> str:
    """Return a character for each cell: x if narrow, w if wide, a dot for its second half, or a blank."""
    shapes = ""
    for place, cell in enumerate(cells):
        is_wide = place + 1 < len(cells) and not cells[place + 1].data
        shapes += "." if not cell.data else "w" if is_wide else " " if cell.data.isspace() else "x"
    return shapes


def _colours(look: Glyph, palette: Palette) -> tuple[str, str]:
    """Return the foreground and background colors of a cell."""
    ink = palette.colour(look.ink, palette.foreground)
    behind = palette.colour(look.behind, palette.background)
    return (behind, ink) if look.reverse else (ink, behind)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
