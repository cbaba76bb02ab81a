"""Tables as rows of text: in columns if they fit, otherwise as a list of cells with their headings."""

from collections.abc import Sequence
from itertools import zip_longest

from rich.text import Text

from hermes_cli.screen import theme
from hermes_cli.screen.cells import cell_count, cut, wrap

BETWEEN = " │ "
CROSSING = "─┼─"
MIN_COLUMN_WIDTH = 6
"""Minimum width of a column in cells; if the table still does not fit, it becomes a list."""
MAX_REPEATED_HEADING = 80
"""Maximum width in cells of a heading in a list, except in the first item, which shows all of it."""


def render_table(rows: Sequence[Sequence[Text]], aligns: Sequence[str], width: int) -> list[Text]:
    """Return the rows of a table, header first. The text of cells is never cut off."""
    count = len(rows[0])
    widths = [max(_width(row[n]) for row in rows if n < len(row)) for n in range(count)]
    room = width - len(BETWEEN) * (count - 1)
    if not _shrink(widths, room):
        return _as_list(rows, width)
    lines: list[Text] = []
    for number, row in enumerate(rows):
        for cell in row if not number else ():
            cell.stylize(theme.STRONG)
        lines += _lines(row, widths, aligns)
        if not number:
            lines.append(Text(CROSSING.join("─" * size for size in widths), theme.MARK))
    return lines


def _width(cell: Text) -> int:
    return max(1, *(cell_count(line) for line in cell.plain.split("\n")))


def _shrink(widths: list[int], room: int) -> bool:
    """Shrink the widest columns until all fit; return False if that is impossible."""
    while (over := sum(widths) - room) > 0:
        widest = max(widths)
        second = max((size for size in widths if size < widest), default=MIN_COLUMN_WIDTH)
        columns = [n for n, size in enumerate(widths) if size == widest]
        target = max(MIN_COLUMN_WIDTH, second, widest - -(-over // len(columns)))
        if target >= widest:
            return False
        for n in columns:
            widths[n] = target
    return True


def _lines(row: Sequence[Text], widths: Sequence[int], aligns: Sequence[str]) -> list[Text]:
    cells = [[line for line, _ in wrap(cell, size)] for cell, size in zip(row, widths, strict=False)]
    lines = []
    for parts in zip_longest(*cells, fillvalue=Text()):
        line = Text()
        for n, part in enumerate(parts):
            if n:
                line.append(BETWEEN, theme.MARK)
            blank = widths[n] - cell_count(part.plain)
            left = {"right": blank, "center": blank // 2}.get(aligns[n], 0)
            line.append(" " * left).append_text(part)
            if n < len(parts) - 1:
                line.append(" " * (blank - left))
        line.rstrip()
        lines.append(line)
    return lines


def _as_list(rows: Sequence[Sequence[Text]], width: int) -> list[Text]:
    head, *body = rows
    lines: list[Text] = []
    for number, row in enumerate(body or [[]]):
        if number:
            lines.append(Text())
        for title, cell in zip_longest(head, row, fillvalue=Text()):
            line = Text(style="")
            line.append(cut(title.plain, MAX_REPEATED_HEADING) if number else title.plain, theme.STRONG)
            if cell.plain:
                line.append(": ").append_text(cell)
            lines += [row for row, _ in wrap(line, width)]
    return lines
