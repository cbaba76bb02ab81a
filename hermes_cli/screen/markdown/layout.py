"""The layout of a leaf at a width: its rows, and how many of them further text cannot change."""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from hermes_cli.screen import theme
from hermes_cli.screen.cells import cell_count, fold, wrap
from hermes_cli.screen.markdown.block_structure import (
    MAX_UNDERLINED,
    Container,
    Leaf,
    LeafKind,
    References,
    code_lines,
)
from hermes_cli.screen.markdown.inline import growing, styled
from hermes_cli.screen.markdown.tables import table

RULE_WIDTH = 40
NARROWEST = 12
"""Minimum width for text in cells, however deep it is nested."""
HELD_CELLS = 12
"""An incomplete word this near to the edge is held back until it is known whether it fits."""
_WORD = string.ascii_letters + string.digits + "_"
"""The characters of a word of code. Its color is unknown until it is complete, so it is held back."""
_BLANK = re.compile(r"[ \n]")
_HALF_WORD = re.compile(r"[^ \n]+\Z")


@dataclass(frozen=True, slots=True)
class Laid:
    """The rows of a leaf. `ends` is the end of each row in the leaf: in characters of text or lines of code.

    The first `settled` rows are final.
    """

    rows: Sequence[Text]
    ends: Sequence[int]
    settled: int


@dataclass(frozen=True, slots=True)
class Page:
    """The settings of a layout: the width in cells, and whether quoted speech is highlighted."""

    width: int
    speech: bool = False


def head_and_rest(leaf: Leaf, before: Sequence[Container], width: int) -> tuple[str, str]:
    """Return the prefix of the leaf's first row and that of its other rows, which leave room for text.

    A list item has its mark only before its first row; `before` are the containers of the previous leaf.
    """
    head = rest = ""
    shared = True
    for place, container in enumerate(leaf.containers):
        shared = shared and place < len(before) and before[place].line == container.line
        head += container.rest if shared else container.head
        rest += container.rest
    room = max(0, width - NARROWEST)
    return head[-room:] if room else "", rest[-room:] if room else ""


def gap_before(leaf: Leaf, before: Sequence[Container], width: int) -> str:
    """Return the quote bars for the blank line before the leaf."""
    shared = ""
    for container, other in zip(leaf.containers, before, strict=False):
        if container.line != other.line:
            break
        shared += container.rest
    return shared[: max(0, width - NARROWEST)].rstrip()


def lay_out(
    leaf: Leaf,
    page: Page,
    references: References,
    code: Callable[[int, str, bool], Text],
    *,
    at: int = 0,
    is_open: bool = False,
    is_partial: bool = False,
) -> Laid:
    """Return the rows of a leaf from `at` on, in characters of text or lines of code.

    An open leaf may continue, and a partial one ends within a line. `code` returns a highlighted line of
    code, given its number, its text and whether it is complete.
    """
    match leaf.kind:
        case LeafKind.PARAGRAPH:
            return _paragraph(leaf, page, references, at, is_open=is_open)
        case LeafKind.FENCE | LeafKind.INDENTED:
            return _code(leaf, page, code, at, is_open=is_open, is_partial=is_partial)
        case LeafKind.HEADING:
            text = growing(leaf.content, references)[0] if is_open else styled(leaf.content, references)
            text.stylize_before(theme.HEADINGS[min(leaf.level, len(theme.HEADINGS)) - 1])
            rows = [row for row, _ in wrap(text, page.width)]
        case LeafKind.TABLE:
            kept = leaf.table[:-1] if is_partial and len(leaf.table) > 1 else leaf.table
            cells = [[styled(cell, references) for cell in row] for row in kept]
            rows = table(cells, leaf.aligns, page.width)
        case LeafKind.RULE:
            rows = [Text("─" * min(page.width, RULE_WIDTH), theme.MARK)]
        case LeafKind.DEFINITION:
            rows = [row for row, _ in wrap(Text(leaf.content, theme.TARGET), page.width)]
        case LeafKind.EMPTY:
            rows = [Text()]
    return Laid(rows, [0] * len(rows), 0)


def _paragraph(leaf: Leaf, page: Page, references: References, at: int, *, is_open: bool) -> Laid:
    if is_open:
        text, limit = growing(leaf.content, references, speech=page.speech)
        rest = _without_half_word(text[at:] if at else text, page.width)
    else:
        text, limit = styled(leaf.content, references, speech=page.speech), 0
        rest = text[at:] if at else text
    wrapped = wrap(rest, page.width)
    rows, ends = [row for row, _ in wrapped], [at + end for _, end in wrapped]
    if not is_open:
        return Laid(rows, ends, len(rows))
    limit = min(limit, _undecided(leaf.content, references))
    settled = sum(_next_word_ends(text.plain, end) <= limit for end in ends[:-1])
    return Laid(rows, ends, settled)


def _next_word_ends(plain: str, place: int) -> int:
    """Return the end of the word at a place. A shorter word might have fitted into the row before."""
    found = _BLANK.search(plain, place)
    return found.start() if found else len(plain)


def _undecided(content: str, references: References) -> int:
    """Return the offset from which a growing paragraph may become something else and so is not final.

    It may become a heading while it is short. Its last lines may become the header of a table.
    """
    if len(content) <= MAX_UNDERLINED:
        return 0
    if "|" not in content:
        return len(content)
    lines = content.split("\n")
    for place in (-2, -1):
        if len(lines) >= -place and "|" in lines[place]:
            return growing("\n".join(lines[:place]), references)[1]
    return len(content)


def _without_half_word(text: Text, width: int) -> Text:
    """Remove an incomplete last word near the edge, since it may belong to the next row."""
    half = _HALF_WORD.search(text.plain)
    if half is None or half.start() == 0:
        return text
    row, _ = wrap(text, width)[-1]
    begins = cell_count(row.plain) - cell_count(half[0])
    return text[: half.start()] if begins > 0 and width - begins < HELD_CELLS else text


def _code(
    leaf: Leaf,
    page: Page,
    code: Callable[[int, str, bool], Text],
    at: int,
    *,
    is_open: bool,
    is_partial: bool,
) -> Laid:
    """Return the rows of a code block: its fences and lines, counted from the opening fence."""
    lines, marks = code_lines(leaf.content), 1 if leaf.fence else 0
    count = len(lines) + marks + (1 if leaf.fence and leaf.closed else 0)
    whole = count - 1 if is_partial else count
    rows: list[Text] = []
    ends: list[int] = []
    settled = 0
    for number in range(at, count):
        if marks and number == 0:
            text = Text(leaf.fence, theme.MARK)
        elif number < len(lines) + marks:
            line = lines[number - marks].expandtabs(4)
            is_whole = number < whole
            text = code(number - marks, line if is_whole else line.rstrip(_WORD), is_whole)
        else:
            text = Text(leaf.fence[: _marks(leaf.fence)], theme.MARK)
        cut = fold(text, page.width)
        rows += cut
        ends += [number + 1] * len(cut)
        settled += len(cut) if number < whole else 0
    if "|" in leaf.fence and whole <= 1:  # the fence may become the header of a table
        settled = 0
    return Laid(rows, ends, settled if is_open else len(rows))


def _marks(fence: str) -> int:
    return len(fence) - len(fence.lstrip(fence[0]))
