"""A picture as SVG: a rectangle for each colored run of cells, and a text for each run of one style.

It uses the viewer's fonts; each run has an explicit width, so that the columns are aligned in any font.
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
    the background. Most of them are from GitHub's Primer.
    """

    name: str
    foreground: str
    background: str
    frame: str
    named: str

    @property
    def colors(self) -> Mapping[str, str]:
        names = (*NAMES, *(f"bright{name}" for name in NAMES))
        return dict(zip(names, self.named.split(), strict=True))

    def of(self, cell: Char) -> tuple[str, str]:
        """Return the colors of a cell's text and background. Other color names are hexadecimal digits."""
        ink, behind = (
            default if name == "default" else self.colors.get(name, f"#{name}")
            for name, default in ((cell.fg, self.foreground), (cell.bg, self.background))
        )
        return (behind, ink) if cell.reverse else (ink, behind)


DARK = Palette(
    "dark",
    foreground="#e6edf3",
    background="#0d1117",
    frame="#30363d",
    named="#484f58 #ff7b72 #3fb950 #d29922 #58a6ff #bc8cff #39c5cf #b1bac4 "
    "#8b949e #ffa198 #56d364 #e3b341 #79c0ff #d2a8ff #56d4dd #ffffff",
)
LIGHT = Palette(
    "light",
    foreground="#1f2328",
    background="#ffffff",
    frame="#d0d7de",
    named="#24292f #cf222e #116329 #7d4e00 #0969da #8250df #1b7c83 #6e7781 "
    "#57606a #a40e26 #1a7f37 #633c01 #0550ae #6639ba #136061 #8c959f",
)


def svg(picture: Picture, palette: Palette, title: str) -> str:
    """Return the picture in the palette's colors, with a title for screen readers."""
    width = len(picture.rows[0]) * CELL_WIDTH + 2 * MARGIN
    height = len(picture.rows) * CELL_HEIGHT + 2 * MARGIN
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    inside = f'width="{width - 1:g}" height="{height - 1:g}"'
    colors = f'fill="{palette.background}" stroke="{palette.frame}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>',
        f"<title>{escape(title)}</title>",
        f"<style>{CSS}</style>",
        f'<rect x="0.5" y="0.5" {inside} rx="6" {colors}/>',
        f'<g transform="translate({MARGIN} {MARGIN})" fill="{palette.foreground}">',
    ]
    for number, row in enumerate(with_cursor(picture)):
        lines += draw_row(row, number, palette)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def with_cursor(picture: Picture) -> list[list[Char]]:
    """Return the rows with the cursor as a block, which has the colors of its cell reversed."""
    rows = [list(row) for row in picture.rows]
    if picture.cursor is not None:
        column, number = picture.cursor
        row = rows[number]
        column = min(column, len(row) - 1)
        width = 2 if [cell.data for cell in row[column + 1 : column + 2]] == [""] else 1
        for place in range(column, column + width):
            row[place] = row[place]._replace(reverse=not row[place].reverse)
    return rows


def draw_row(row: Row, number: int, palette: Palette) -> Iterator[str]:
    """Yield a row's elements. Backgrounds come first, so as not to cover the overhang of adjacent text."""
    texts, column = list[str](), 0
    for style, group in groupby(row, key=lambda cell: cell._replace(data="")):
        cells = list(group)
        _, behind = palette.of(style)
        if behind != palette.background:
            x, width = column * CELL_WIDTH, len(cells) * CELL_WIDTH
            size = f'width="{width:g}" height="{CELL_HEIGHT}"'
            yield f'<rect x="{x:g}" y="{number * CELL_HEIGHT}" {size} fill="{behind}"/>'
        texts += _texts(column, number, cells, palette)
        column += len(cells)
    yield from texts


def _texts(column: int, number: int, cells: Sequence[Char], palette: Palette) -> Iterator[str]:
    ink, _ = palette.of(cells[0])
    classes = " ".join(short for field, short in CLASSES.items() if getattr(cells[0], field))
    attributes = f' class="{classes}"' if classes else ""
    attributes += f' fill="{ink}"' if ink != palette.foreground else ""
    for found in _RUN.finditer(_shapes(cells)):
        text = escape("".join(cell.data for cell in cells[found.start() : found.end()]))
        x, y = (column + found.start()) * CELL_WIDTH, number * CELL_HEIGHT + BASELINE
        width = CELL_WIDTH * (2 if found[0] == "w" else len(found[0]))
        yield f'<text x="{x:g}" y="{y:g}" textLength="{width:g}"{attributes}>{text}</text>'


def _shapes(cells: Sequence[Char]) -> str:
    """Return a character for each cell: x if narrow, w if wide, a dot for its second half, or a blank."""
    shapes = "".join("." if not c.data else " " if c.data.isspace() else "x" for c in cells)
    return shapes.replace("x.", "w.")
