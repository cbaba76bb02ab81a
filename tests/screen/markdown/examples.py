"""CommonMark's examples, random pieces of a text, and screens on which rows are painted."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyte
from rich.text import Text

from hermes_cli.screen.markdown import block_structure
from hermes_cli.screen.markdown.block_structure import Leaf
from hermes_cli.screen.markdown.code import Highlighter
from hermes_cli.screen.markdown.layout import LayoutSettings, gap_prefix, lay_out, row_prefixes
from hermes_cli.screen.markdown.stream import MarkdownStream
from hermes_cli.screen.paint import Painter
from tests.terminal.screen import Screen

FILE = Path(__file__).with_name("commonmark-examples.json")

Size = tuple[int, int]


@cache
def examples() -> dict[int, str]:
    """Return the inputs of CommonMark 0.31.2's examples by their numbers."""
    return {
        example["example"]: example["markdown"]
        for example in json.loads(FILE.read_text(encoding="utf-8"))["examples"]
    }


def pieces(text: str, rng: random.Random) -> list[str]:
    """Return a text cut at random places, into single characters or into longer pieces."""
    if len(text) < 2 or rng.random() < 0.2:
        return list(text)
    count = rng.randrange(min(len(text), 40))
    cuts = sorted(rng.sample(range(1, len(text)), min(count, len(text) - 1)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def streamed(parts: Iterable[str], width: int, *, speech: bool = False) -> list[Text]:
    """Return the rows of a text that came in parts, layout out after each of them."""
    stream, rows = MarkdownStream(speech=speech), list[Text]()
    for part in parts:
        stream.feed(part)
        rows += stream.rows(width)[0]
    return rows + stream.rows(width, ended=True)[0]


def render(text: str, width: int, *, speech: bool = False) -> list[Text]:
    """Return the rows of a whole text."""
    stream = MarkdownStream(speech=speech)
    stream.feed(text)
    return stream.rows(width, ended=True)[0]


def commonmark_rows(text: str, width: int) -> list[Text]:
    """Return the rows of a whole text by CommonMark: any underlined heading, all definitions."""
    with patch.object(block_structure, "MAX_UNDERLINED", len(text)):
        parsed = block_structure.parse(text)
    rows: list[Text] = []
    before: Sequence[Any] = ()
    for leaf in parsed.leaves:
        head, rest = row_prefixes(leaf, before, width)
        layout = lay_out(leaf, LayoutSettings(width - len(rest)), parsed.references, _code(leaf))
        if leaf.gap:
            rows.append(Text(gap_prefix(leaf, before, width)))
        rows += [Text.assemble(rest if place else head, row) for place, row in enumerate(layout.rows)]
        before = leaf.containers
    return rows


def _code(leaf: Leaf) -> Callable[[int, str, bool], Text]:
    highlighter = Highlighter(leaf.info)
    return lambda _number, line, _whole: highlighter.add(line)


def screen(size: Size, write: Callable[[Painter], None]) -> list[list[Any]]:
    """Return every cell of a terminal with its scrollback, down to the last row with text."""
    shown = Screen(*size, history=100_000)
    painter = Painter(pyte.Stream(shown).feed, lambda: size)
    write(painter)
    rows = [*shown.history.top, *(shown.buffer[y] for y in range(size[1]))]
    cells = [[row[x] for x in range(size[0])] for row in rows]
    while cells and not any(cell.data.strip() for cell in cells[-1]):
        cells.pop()
    return cells


def painted(parts: Iterable[str], size: Size, rng: random.Random, *, speech: bool = False) -> list[list[Any]]:
    """Return the screen after a text that came in parts, painted after some of them."""

    def write(painter: Painter) -> None:
        stream = MarkdownStream(speech=speech)
        for part in parts:
            stream.feed(part)
            if rng.random() < 0.7:
                painter.paint(*stream.rows(size[0]))
        painter.paint(*stream.rows(size[0], ended=True))
        painter.end()

    return screen(size, write)


def painted_at_once(rows: Sequence[Text], size: Size) -> list[list[Any]]:
    """Return the screen after rows that were painted in one step."""

    def write(painter: Painter) -> None:
        painter.paint(rows, [])
        painter.end()

    return screen(size, write)
