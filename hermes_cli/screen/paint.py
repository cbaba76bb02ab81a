"""Updates rows of text at the end of a terminal's output, and redraws only the part that changed.

The only control sequences are colors, cursor up and right, erase below, and the markers of a synchronized
update. Only rows that may still change are stored; final rows are never rewritten.
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
"""Characters in order, each with its style."""


class Painter:
    """Text on a terminal. The cursor stays at the end of the last row until `end` is called.

    `size` returns the current columns and rows of the terminal. `reflows` is true if the terminal wraps its
    rows again when it becomes narrower, as most do.
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
        """Replace the previous live rows with `final` rows, which stay, and `live` rows, which may change."""
        width, height = self._size()
        old = self._rows
        shown = live[-max(1, height - 1) :]
        new = [_cells(row) for row in (*final, *shown)]
        if width != self._width:
            self._erase_live_rows(width, height)
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
        """Move the cursor to the beginning of the row below the text."""
        reset = "\x1b[m" if self._codes else ""
        if reset or not self._ended_row:
            self._put(reset + ("" if self._ended_row else "\r\n"))
        self._codes = ""
        self._rows, self._ended_row = [], True

    def _change(self, old: list[Cells], new: list[Cells]) -> str:
        """Return the output that turns the old rows into the new ones.

        The cursor moves from the end of the last old row to the end of the last new row.
        """
        row, cell = _first_difference(old, new)
        if row == len(old):  # nothing is erased
            lines = [self._written(cells) for cells in new[row:]]
            return "\r\n".join([*([""] if old and lines else []), *lines])
        if row == len(new) and new:  # rows are removed: the cursor moves to the end of the last remaining one
            row, cell = row - 1, 0
        if row == len(old) - 1 and new and cell == len(old[row]):
            return self._rest(new, row, cell)
        before = "".join(character for character, _ in old[row][:cell])
        if not is_certain(before):
            cell, before = 0, ""
        reset, self._codes = ("\x1b[m" if self._codes else ""), ""  # erased cells take the current color
        up = len(old) - 1 - row
        move = f"\x1b[{up}A\r" if up else "\r"
        right = f"\x1b[{cell_count(before)}C" if before else ""
        rest = self._rest(new, row, cell) if new else ""
        return f"{BEGIN_UPDATE}{reset}{move}{right}{ERASE_BELOW}{rest}{END_UPDATE}"

    def _rest(self, new: list[Cells], row: int, cell: int) -> str:
        return "\r\n".join([self._written(new[row][cell:]), *map(self._written, new[row + 1 :])])

    def _erase_live_rows(self, width: int, height: int) -> None:
        """Erase the rows that may change, after the width of the terminal has changed."""
        if not self._rows:
            return
        taken = [max(1, -(-_width(cells) // width)) if self._reflows else 1 for cells in self._rows]
        up = min(sum(taken) - 1, height - 1)
        self._put(f"{BEGIN_UPDATE}\x1b[m" + (f"\x1b[{up}A" if up else "") + f"\r{ERASE_BELOW}{END_UPDATE}")
        self._codes = ""

    def _written(self, cells: Cells) -> str:
        """Return the output for cells. The style of the previous output is still active."""
        written = []
        for style, run in groupby(cells, key=lambda cell: cell[1]):
            codes = _codes(style if self._colour else style.without_color)
            if codes != self._codes:
                written.append(f"\x1b[0;{codes}m" if codes and self._codes else f"\x1b[{codes}m")
                self._codes = codes
            written.append("".join(character for character, _ in run))
        return "".join(written)


def _first_difference(old: list[Cells], new: list[Cells]) -> tuple[int, int]:
    """Return the row and cell of the first difference; the end of `old` or `new` counts as a difference."""
    for row, (old_cells, new_cells) in enumerate(zip(old, new, strict=False)):
        if old_cells != new_cells:
            cells = enumerate(zip(old_cells, new_cells, strict=False))
            return row, next((n for n, (a, b) in cells if a != b), min(len(old_cells), len(new_cells)))
    return min(len(old), len(new)), 0


@lru_cache(256)
def _codes(style: Style) -> str:
    """Return the parameters of a style's control sequence; empty for plain text."""
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
