"""The width of text in terminal cells, and the wrapping of text into rows.

Terminals differ in the width of emoji, flags and joined characters. The widths here are the maximum over all
terminals, so a row may be shorter than necessary but never exceeds the width of the terminal.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from wcwidth import wcwidth

from hermes_cli.screen.sanitize import ELLIPSIS

if TYPE_CHECKING:  # the toolbar measures cells without importing rich
    from rich.text import Text

_VARIATION_EMOJI = "\ufe0f"
_REGIONAL = range(0x1F1E6, 0x1F200)
_WIDE = "\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60\uffe0-\uffe6"
_JOINED = "\u0300-\u036f\u200d\u3099\u309a\ufe00-\ufe0f"
# `re` compiles and caches these patterns on first use, because the toolbar needs neither.
WORD = rf"[{_WIDE}][{_JOINED}]* *|[^ {_WIDE}]+ *| +"
"""A word with the spaces after it. A line may break between any two ideographs."""
_CERTAIN = rf"[\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u0482\u2010-\u2027\u2190-\u21ff{_WIDE}]*"
"""Text whose width is the same on every terminal."""


@lru_cache(4096)
def _width(character: str) -> int:
    if ord(character) in _REGIONAL:
        return 2  # half of a flag, in a terminal that does not draw flags
    return max(0, wcwidth(character))


def cell_widths(text: str) -> list[int]:
    """Return the width of each character in cells: 0 for combining characters, 2 for wide ones."""
    widths: list[int] = []
    before = " "
    for character in text:
        if character == _VARIATION_EMOJI and before != " " and widths[-1] == 1:
            widths[-1] = 2  # the selector makes the previous character wide
        widths.append(_width(character))
        before = character
    return widths


def cell_count(text: str) -> int:
    """Return the maximum number of cells that a line occupies."""
    return len(text) if text.isascii() else sum(cell_widths(text))


def cut(text: str, width: int) -> str:
    """Return a line cut to at most `width` cells, with an ellipsis at the end if it was cut."""
    if cell_count(text) <= width:
        return text
    used = 0
    for place, cells in enumerate(cell_widths(text)):
        used += cells
        if used > width - 1:
            return text[:place] + ELLIPSIS
    return text


def is_certain(text: str) -> bool:
    """Return whether the text has the same width on every terminal."""
    return text.isascii() or re.fullmatch(_CERTAIN, text) is not None


def wrap(text: "Text", width: int) -> "list[tuple[Text, int]]":
    """Wrap text, which may contain newlines, and return the rows, each with the offset where it ends.

    Spaces at the end of a row are removed; the offset includes them and the newline. The result has at least
    one row.
    """
    plain = text.plain
    if "\n" not in plain and not plain.endswith(" ") and cell_count(plain) <= width:
        return [(text, len(plain))]
    starts = [0, *_breaks(plain, max(1, width))]
    ends = [*starts[1:], len(plain)]
    kept_ends = [start + len(plain[start:end].rstrip(" \n")) for start, end in zip(starts, ends, strict=True)]
    cuts = sorted({*starts, *kept_ends} - {0, len(plain)})
    parts = dict(zip([0, *cuts], text.divide(cuts), strict=True))  # one pass: a slice reads all styles
    rows = []
    for start, kept_end, end in zip(starts, kept_ends, ends, strict=True):
        rows.append((parts[start] if start < kept_end else text[start:start], end))
    return rows


def _breaks(plain: str, width: int) -> Iterator[int]:
    """Yield the offset at which each row begins, except the first."""
    place = 0
    for number, line in enumerate(plain.split("\n")):
        if number:
            yield place
        used = 0
        for word in re.finditer(WORD, line):
            letters = word[0].rstrip(" ")
            size = cell_count(letters)
            if used and used + size > width:
                yield place + word.start()
                used = 0
            if size > width:  # longer than a row: break it wherever a row is full
                for at, cells in enumerate(cell_widths(letters)):
                    if used + cells > width:
                        yield place + word.start() + at
                        used = 0
                    used += cells
            else:
                used += size
            used += len(word[0]) - len(letters)
        place += len(line) + 1


def fold(text: "Text", width: int) -> "list[Text]":
    """Split a line, for example of code, into rows of at most `width` cells. Return at least one row."""
    if cell_count(text.plain) <= width:
        return [text]
    cuts, used = [], 0
    for at, cells in enumerate(cell_widths(text.plain)):
        if used + cells > max(width, 2):
            cuts.append(at)
            used = 0
        used += cells
    return list(text.divide(cuts))
