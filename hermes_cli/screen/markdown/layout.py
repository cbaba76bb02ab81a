"""Lays out a leaf in rows, and counts its final rows: those that further text cannot change."""

import re
import string
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
from hermes_cli.screen.markdown.inline import render_inline, render_partial_inline
from hermes_cli.screen.markdown.tables import render_table

RULE_WIDTH = 40
MIN_TEXT_WIDTH = 12
"""Minimum width of text in cells, regardless of nesting."""
EDGE_CELLS = 12
"""An incomplete word that begins within this many cells of the edge is held back."""
_WORD_CHARACTERS = string.ascii_letters + string.digits + "_"
"""Characters of a word in code. An incomplete word is held back, since its color is not known yet."""
_BLANK = re.compile(r"[ \n]")
_LAST_WORD = re.compile(r"[^ \n]+\Z")


class LeafLayout(NamedTuple):
    """The rows of a leaf, of which the first `settled` ones are final.

    `ends` holds the offset in the leaf at which each row ends: in characters of text, or in lines of code.
    """

    rows: Sequence[Text]
    ends: Sequence[int]
    settled: int


class LayoutSettings(NamedTuple):
    """The layout settings: the width in cells, and whether quoted speech is highlighted."""

    width: int
    speech: bool = False


def row_prefixes(leaf: Leaf, before: Sequence[Container], width: int) -> tuple[str, str]:
    """Return the prefix of the leaf's first row, and the prefix of its other rows.

    The marker of a list item is only in the first row of its first leaf. `before` holds the containers of the
    previous leaf. The prefixes leave at least MIN_TEXT_WIDTH cells for text, if the width allows it.
    """
    head = rest = ""
    shared = True
    for depth, container in enumerate(leaf.containers):
        shared = shared and depth < len(before) and before[depth].line == container.line
        head += container.rest if shared else container.head
        rest += container.rest
    room = max(0, width - MIN_TEXT_WIDTH)
    return head[-room:] if room else "", rest[-room:] if room else ""


def gap_prefix(leaf: Leaf, before: Sequence[Container], width: int) -> str:
    """Return the quote bars for the blank line before the leaf."""
    shared = ""
    for container, other in zip(leaf.containers, before, strict=False):
        if container.line != other.line:
            break
        shared += container.rest
    return shared[: max(0, width - MIN_TEXT_WIDTH)].rstrip()


def lay_out(
    leaf: Leaf,
    settings: LayoutSettings,
    references: References,
    code: Callable[[int, str, bool], Text],
    *,
    at: int = 0,
    is_open: bool = False,
    is_partial: bool = False,
) -> LeafLayout:
    """Return the rows of a leaf from the offset `at`, in characters of text or lines of code.

    An open leaf may continue, and a partial one ends within a line. `code` is called with the number and the
    text of a line of code, and whether it is complete; it returns the highlighted line.
    """
    match leaf.kind:
        case LeafKind.PARAGRAPH:
            return _paragraph(leaf, settings, references, at, is_open=is_open)
        case LeafKind.FENCE | LeafKind.INDENTED:
            return _code(leaf, settings, code, at, is_open=is_open, is_partial=is_partial)
        case LeafKind.HEADING:
            if is_open:
                text, _ = render_partial_inline(leaf.content, references)
            else:
                text = render_inline(leaf.content, references)
            text.stylize_before(theme.HEADINGS[min(leaf.level, len(theme.HEADINGS)) - 1])
            rows = [row for row, _ in wrap(text, settings.width)]
        case LeafKind.TABLE:
            kept = leaf.table[:-1] if is_partial and len(leaf.table) > 1 else leaf.table
            cells = [[render_inline(cell, references) for cell in row] for row in kept]
            rows = render_table(cells, leaf.aligns, settings.width)
        case LeafKind.RULE:
            rows = [Text("─" * min(settings.width, RULE_WIDTH), theme.MARK)]
        case LeafKind.DEFINITION:
            rows = [row for row, _ in wrap(Text(leaf.content, theme.TARGET), settings.width)]
        case LeafKind.EMPTY:
            rows = [Text()]
    return LeafLayout(rows, [0] * len(rows), 0)


def _paragraph(
    leaf: Leaf, settings: LayoutSettings, references: References, at: int, *, is_open: bool
) -> LeafLayout:
    if is_open:
        text, limit = render_partial_inline(leaf.content, references, speech=settings.speech)
        rest = _without_incomplete_word(text[at:] if at else text, settings.width)
    else:
        text, limit = render_inline(leaf.content, references, speech=settings.speech), 0
        rest = text[at:] if at else text
    wrapped = wrap(rest, settings.width)
    rows, ends = [row for row, _ in wrapped], [at + end for _, end in wrapped]
    if not is_open:
        return LeafLayout(rows, ends, len(rows))
    limit = min(limit, _undecided_from(leaf.content, references))
    settled = sum(_end_of_word(text.plain, end) <= limit for end in ends[:-1])
    return LeafLayout(rows, ends, settled)


def _end_of_word(plain: str, offset: int) -> int:
    """Return the end of the word at an offset. Until it is final, the word may fit in the previous row."""
    found = _BLANK.search(plain, offset)
    return found.start() if found else len(plain)


def _undecided_from(content: str, references: References) -> int:
    """Return the offset from which a paragraph may still become another kind of leaf.

    A short paragraph may become a heading, and its last lines may become the header of a table.
    """
    if len(content) <= MAX_UNDERLINED:
        return 0
    if "|" not in content:
        return len(content)
    lines = content.split("\n")
    for place in (-2, -1):
        if len(lines) >= -place and "|" in lines[place]:
            return render_partial_inline("\n".join(lines[:place]), references)[1]
    return len(content)


def _without_incomplete_word(text: Text, width: int) -> Text:
    """Remove an incomplete last word near the edge, since it may still move to the next row."""
    word = _LAST_WORD.search(text.plain)
    if word is None or word.start() == 0:
        return text
    row, _ = wrap(text, width)[-1]
    start = cell_count(row.plain) - cell_count(word[0])
    return text[: word.start()] if start > 0 and width - start < EDGE_CELLS else text


def _code(
    leaf: Leaf,
    settings: LayoutSettings,
    code: Callable[[int, str, bool], Text],
    at: int,
    *,
    is_open: bool,
    is_partial: bool,
) -> LeafLayout:
    """Return the rows of a code block. The offsets count its lines, including the fences."""
    lines, opening = code_lines(leaf.content), 1 if leaf.fence else 0
    count = len(lines) + opening + (1 if leaf.fence and leaf.closed else 0)
    complete = count - 1 if is_partial else count
    rows: list[Text] = []
    ends: list[int] = []
    settled = 0
    for number in range(at, count):
        if opening and number == 0:
            text = Text(leaf.fence, theme.MARK)
        elif number < len(lines) + opening:
            line = lines[number - opening].expandtabs(4)
            is_complete = number < complete
            text = code(number - opening, line if is_complete else line.rstrip(_WORD_CHARACTERS), is_complete)
        else:
            text = Text(leaf.fence[: _fence_length(leaf.fence)], theme.MARK)
        folded = fold(text, settings.width)
        rows += folded
        ends += [number + 1] * len(folded)
        settled += len(folded) if number < complete else 0
    if "|" in leaf.fence and complete <= 1:  # the fence may become the header of a table
        settled = 0
    return LeafLayout(rows, ends, settled if is_open else len(rows))


def _fence_length(fence: str) -> int:
    return len(fence) - len(fence.lstrip(fence[0]))
