"""A picture as SVG: a rectangle for each colored run of cells, and a text for each run of one style.

The file is self-contained. It uses the viewer's fonts, and each run has an explicit width, so that the
columns are aligned in any font. Equal pictures give equal files.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

from pyte.screens import Char

from screenshots.camera import Picture, Row

FONT_PX = 14
CELL_WIDTH, CELL_HEIGHT = 8.4, 18
BASELINE = 13.5
"""Distance from the upper edge of a cell to the baseline of the text."""
MARGIN = 12
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
CLASSES = {"bold": "b", "blink": "d", "italics": "i", "underscore": "u", "strikethrough": "s"}
"""By attribute of a cell, where blink is dim."""
CSS = (
    f"text{{font:{FONT_PX}px {FONTS}}}"
    ".b{font-weight:bold}.i{font-style:italic}.d{fill-opacity:.65}"
    ".u{text-decoration:underline}.s{text-decoration:line-through}"
    ".u.s{text-decoration:underline line-through}"
)
NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
"""pyte's names for the eight colors in the terminals' order; its "brown" is yellow."""
_RUN = re.compile("w|x+(?: x+)*")
"""The cell shapes of a run that becomes one text. Double blanks split it, since XML would merge them."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The CSS colors of `default` and of the sixteen names. `frame` is the border of the picture.

    Every color except black and white, which hermes does not use, has a contrast of at least 4.5 to 1 with
    the background, as in a terminal with readable colors. Most of them are from GitHub's Primer.
    """

    name: str
    foreground: str
    background: str
    frame: str
    normal: str
    bright: str

    @property
    def colors(self) -> Mapping[str, str]:
        names = (*NAMES, *(f"bright{name}" for name in NAMES))
        return dict(zip(names, [*self.normal.split(), *self.bright.split()], strict=True))

    def of(self, cell: Char) -> tuple[str, str]:
        """Return the foreground and background colors of a cell.

        A color name of six hexadecimal digits is used as it is.
        """
        defaults = ((cell.fg, self.foreground), (cell.bg, self.background))
        ink, behind = (
            default if name == "default" else self.colors.get(name) or f"#{name}"
            for name, default in defaults
        )
        return (behind, ink) if cell.reverse else (ink, behind)


DARK = Palette(
    "dark",
    foreground="#e6edf3",
    background="#0d1117",
    frame="#30363d",
    normal="#484f58 #ff7b72 #3fb950 #d29922 #58a6ff #bc8cff #39c5cf #b1bac4",
    bright="#8b949e #ffa198 #56d364 #e3b341 #79c0ff #d2a8ff #56d4dd #ffffff",
)
LIGHT = Palette(
    "light",
    foreground="#1f2328",
    background="#ffffff",
    frame="#d0d7de",
    normal="#24292f #cf222e #116329 #7d4e00 #0969da #8250df #1b7c83 #6e7781",
    bright="#57606a #a40e26 #1a7f37 #633c01 #0550ae #6639ba #136061 #8c959f",
)


def svg(picture: Picture, palette: Palette, title: str) -> str:
    """Return the picture in the palette's colors, with a title for screen readers."""
    width = len(picture.rows[0]) * CELL_WIDTH + 2 * MARGIN
    height = len(picture.rows) * CELL_HEIGHT + 2 * MARGIN
    size = f'width="{_number(width)}" height="{_number(height)}"'
    inside = f'width="{_number(width - 1)}" height="{_number(height - 1)}"'
    colors = f'fill="{palette.background}" stroke="{palette.frame}"'
    box = f'viewBox="0 0 {_number(width)} {_number(height)}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {box}>',
        f"<title>{escape(title)}</title>",
        f"<style>{CSS}</style>",
        f'<rect x="0.5" y="0.5" {inside} rx="6" {colors}/>',
        f'<g transform="translate({MARGIN} {MARGIN})" fill="{palette.foreground}">',
    ]
    for number, row in enumerate(_with_cursor(picture)):
        lines += _row(row, number, palette)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _with_cursor(picture: Picture) -> list[list[Char]]:
    """Return the rows with the cursor as a block, which has the colors of its cell reversed."""
    rows = [list(row) for row in picture.rows]
    if picture.cursor is not None:
        column, number = picture.cursor
        row = rows[number]
        column = min(column, len(row) - 1)
        for place in (column, column + 1):
            if place == column or (place < len(row) and not row[place].data):
                row[place] = row[place]._replace(reverse=not row[place].reverse)
    return rows


def _row(row: Row, number: int, palette: Palette) -> Iterator[str]:
    """Yield a row's elements. Backgrounds come first, so as not to cover the overhang of adjacent text."""
    texts, column = list[str](), 0
    for style, group in groupby(row, key=lambda cell: cell._replace(data="")):
        cells = list(group)
        _, behind = palette.of(style)
        if behind != palette.background:
            yield (
                f'<rect x="{_number(column * CELL_WIDTH)}" y="{number * CELL_HEIGHT}" '
                f'width="{_number(len(cells) * CELL_WIDTH)}" height="{CELL_HEIGHT}" fill="{behind}"/>'
            )
        texts += _texts(column, number, cells, palette)
        column += len(cells)
    yield from texts


def _texts(column: int, number: int, cells: Sequence[Char], palette: Palette) -> Iterator[str]:
    ink, _ = palette.of(cells[0])
    classes = " ".join(short for field, short in CLASSES.items() if getattr(cells[0], field))
    attributes = f' class="{classes}"' if classes else ""
    attributes += f' fill="{ink}"' if ink != palette.foreground else ""
    for found in _RUN.finditer(_shapes(cells)):
        text = "".join(cell.data for cell in cells[found.start() : found.end()])
        taken = 2 if found[0] == "w" else len(found[0])
        yield (
            f'<text x="{_number((column + found.start()) * CELL_WIDTH)}" '
            f'y="{_number(number * CELL_HEIGHT + BASELINE)}" '
            f'textLength="{_number(taken * CELL_WIDTH)}"{attributes}>{escape(text)}</text>'
        )


def _shapes(cells: Sequence[Char]) -> str:
    """Return a character for each cell: x if narrow, w if wide, a dot for its second half, or a blank."""
    shapes = ""
    for place, cell in enumerate(cells):
        is_wide = place + 1 < len(cells) and not cells[place + 1].data
        shapes += "." if not cell.data else "w" if is_wide else " " if cell.data.isspace() else "x"
    return shapes


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
