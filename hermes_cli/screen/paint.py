"""Painter: puts rows on a terminal, and takes back no more of them than has changed.

It knows the few control sequences that hermes writes: colours, cursor up and right, erase below, and the
marks of a synchronised update. It keeps the rows that may still change at the end of the screen; what is
final scrolls away and is never touched again. It refuses to know what the rows say.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final

from rich.color import ColorSystem
from rich.style import Style
from rich.text import Text

from hermes_cli.screen.cells import cell_count, is_certain

BEGIN_UPDATE: Final = "\x1b[?2026h"
END_UPDATE: Final = "\x1b[?2026l"
ERASE_BELOW: Final = "\x1b[J"

Cells = list[tuple[str, Style]]
"""One character and its style after the other."""


class Painter:
    """One text on a terminal. The cursor stands behind its last row until `end`.

    `size` returns columns and rows of the terminal as they are now. `reflows` says whether the terminal
    breaks its rows anew when it becomes narrower, as most do.
    """

    def __init__(
        self,
        put: Callable[[str], None],
        size: Callable[[], tuple[int, int]],
        *,
        colour: bool = True,
        reflows: bool = True,
    ) -> None:
        self._put = put
        self._size = size
        self._colour = colour
        self._reflows = reflows
        self._rows: list[Cells] = []
        self._width = size()[0]
        self._ended_row = True
        self._codes = ""

    def paint(self, final: Sequence[Text], live: Sequence[Text]) -> None:
        """Show rows in the place of those that were not final: some that are, and some that may change."""
        width, height = self._size()
        old = self._rows
        shown = live[-max(1, height - 1) :]
        new = [_cells(row) for row in (*final, *shown)]
        if width != self._width:
            self._take_back(width, height)
            old = self._rows = []
        self._width = width
        written = self._change(old, new)
        self._rows = new[len(final) :]
        self._ended_row = not self._rows
        if self._ended_row and new:
            written += "\r\n"
        if written:
            self._put(written)

    def end(self) -> None:
        """Leave the cursor at the beginning of the row below the text."""
        reset = "\x1b[m" if self._codes else ""
        if reset or not self._ended_row:
            self._put(reset + ("" if self._ended_row else "\r\n"))
        self._codes = ""
        self._rows, self._ended_row = [], True

    def _change(self, old: list[Cells], new: list[Cells]) -> str:
        """Return what makes the new rows of the old ones, with the cursor behind the last of either."""
        row, cell = _first_difference(old, new)
        if row == len(old):  # nothing is taken back
            lines = [self._written(cells) for cells in new[row:]]
            return "\r\n".join([*([""] if old and lines else []), *lines])
        if row == len(new) and new:  # rows are gone, and the cursor belongs behind the last that stays
            row, cell = row - 1, 0
        if row == len(old) - 1 and new and cell == len(old[row]):
            return self._rest(new, row, cell)
        before = "".join(character for character, _ in old[row][:cell])
        if not is_certain(before):
            cell, before = 0, ""
        reset, self._codes = ("\x1b[m" if self._codes else ""), ""  # what is erased takes on the colour
        up = len(old) - 1 - row
        move = f"\x1b[{up}A\r" if up else "\r"
        right = f"\x1b[{cell_count(before)}C" if before else ""
        rest = self._rest(new, row, cell) if new else ""
        return f"{BEGIN_UPDATE}{reset}{move}{right}{ERASE_BELOW}{rest}{END_UPDATE}"

    def _rest(self, new: list[Cells], row: int, cell: int) -> str:
        return "\r\n".join([self._written(new[row][cell:]), *map(self._written, new[row + 1 :])])

    def _take_back(self, width: int, height: int) -> None:
        """Erase the rows that may change, after the terminal has changed its width."""
        if not self._rows:
            return
        taken = [max(1, -(-_width(cells) // width)) if self._reflows else 1 for cells in self._rows]
        up = min(sum(taken) - 1, height - 1)
        self._put(f"{BEGIN_UPDATE}\x1b[m" + (f"\x1b[{up}A" if up else "") + f"\r{ERASE_BELOW}{END_UPDATE}")
        self._codes = ""

    def _written(self, cells: Cells) -> str:
        """Return cells as they are written behind what was written last, whose style still holds."""
        written = []
        for style, run in groupby(cells, key=lambda cell: cell[1]):
            codes = _codes(style if self._colour else style.without_color)
            if codes != self._codes:
                written.append(f"\x1b[0;{codes}m" if codes and self._codes else f"\x1b[{codes}m")
                self._codes = codes
            written.append("".join(character for character, _ in run))
        return "".join(written)


def _first_difference(old: list[Cells], new: list[Cells]) -> tuple[int, int]:
    """Return the row and the cell from which on the rows differ: of one of them, where it is the shorter."""
    for row, (one, other) in enumerate(zip(old, new, strict=False)):
        if one != other:
            cells = enumerate(zip(one, other, strict=False))
            return row, next((n for n, (a, b) in cells if a != b), min(len(one), len(other)))
    return min(len(old), len(new)), 0


@lru_cache(256)
def _codes(style: Style) -> str:
    """Return the numbers of a style's control sequence; none for plain text."""
    begin, _, _ = style.render("\0", color_system=ColorSystem.STANDARD).partition("\0")
    return begin.removeprefix("\x1b[").removesuffix("m")


def _width(cells: Cells) -> int:
    return cell_count("".join(character for character, _ in cells))


def _cells(row: Text) -> Cells:
    base = row.style if isinstance(row.style, Style) else Style.null()
    styles = [base] * len(row)
    for span in row.spans:
        if isinstance(span.style, Style):
            for place in range(span.start, min(span.end, len(styles))):
                styles[place] += span.style
    return list(zip(row.plain, styles, strict=True))
