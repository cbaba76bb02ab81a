"""The block structure of Markdown, as a flat list of leaf blocks with their containers.

The text is CommonMark with tables and strikethrough, parsed by markdown-it. A later line can change only the
last leaf; earlier leaves are final. This requires two deviations from CommonMark (see `parse`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, lheading
from markdown_it.token import Token

References = Mapping[str, Mapping[str, Any]]
MAX_UNDERLINED = 80
"""Maximum characters of an underlined heading; longer text may already be final on the screen."""
PADDED_CELLS = 32
"""Cells missing from the rows of a table that are always filled in; above that, at most two for each cell."""
_CONTAINERS = {
    f"{name}_{side}"
    for name in ("bullet_list", "ordered_list", "list_item", "blockquote")
    for side in ("open", "close")
}
_INSIDE = {"inline", "paragraph_close", "heading_close"}
_BLANK = re.compile(r"[\s>]*")


class LeafKind(Enum):
    """The kind of a leaf."""

    PARAGRAPH = auto()
    HEADING = auto()
    FENCE = auto()
    INDENTED = auto()
    TABLE = auto()
    RULE = auto()
    DEFINITION = auto()
    EMPTY = auto()  # an empty list item or quote


class Container(NamedTuple):
    """A quote or a list item, with the prefixes of its first row (`head`) and of its other rows (`rest`).

    `line` is the number of its first line, which identifies the container.
    """

    head: str
    rest: str
    line: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A block that contains no blocks. `begin` and `end` are line numbers in the text; `end` is exclusive.

    `content` is inline Markdown, or the code itself. `fence` is the opening fence with its info string, and
    `closed` is true if there is a closing one. `table` holds the cells, header row first. `gap` is true if
    a blank line precedes the leaf.
    """

    kind: LeafKind
    content: str
    containers: tuple[Container, ...]
    begin: int
    end: int
    gap: bool = False
    level: int = 0
    fence: str = ""
    info: str = ""
    closed: bool = True
    table: tuple[tuple[str, ...], ...] = ()
    aligns: tuple[str, ...] = ()


class Unit(NamedTuple):
    """A top-level block, or an item of a top-level list, at which parsing can restart.

    `number` is the number of an item in an ordered list.
    """

    begin: int
    end: int
    number: int | None = None


class Parsed(NamedTuple):
    """The structure of parsed text. `references` are its link definitions, by label."""

    leaves: Sequence[Leaf]
    units: Sequence[Unit]
    references: References = MappingProxyType({})


@cache
def parser() -> MarkdownIt:
    """Return the parser. HTML is treated as text, so that no part of an answer is hidden."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    markdown.core.ruler.disable(["inline", "text_join"])
    markdown.block.ruler.disable("html_block")
    markdown.inline.ruler.disable("html_inline")
    markdown.block.ruler.before("table", "end_of_table", _is_end_of_table, {"alt": ["blockquote"]})
    markdown.block.ruler.at("lheading", _short_heading, {"alt": []})
    return markdown


def _short_heading(state: StateBlock, begin: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - the library's signature
    """Parse an underlined heading only if its text is at most MAX_UNDERLINED characters long."""
    token_count = len(state.tokens)
    if not lheading(state, begin, end, silent):
        return False
    if len(state.tokens[token_count + 1].content) <= MAX_UNDERLINED:
        return True
    del state.tokens[token_count:]
    state.line = begin
    return False


def _is_end_of_table(state: StateBlock, line: int, _end: int, silent: bool) -> bool:  # noqa: FBT001 - the library's signature
    """Return whether a table ends above a line, because too many of its cells were filled in.

    The parser fills short rows, so a few short lines below a wide header could become many cells. It calls
    this rule before each row, since the rule belongs to those that end a quote.
    """
    if not silent or state.parentType != "table":
        return False
    if state.tokens[-1].type == "thead_close":
        columns = sum(token.type == "th_open" for token in _back_to_table(state.tokens))
        state.env["cells"] = columns, columns, 0
    columns, given, padded = state.env["cells"]
    pipes = state.src.count("|", state.bMarks[line], state.eMarks[line])
    given += min(pipes + 1, columns)
    padded += max(0, columns - pipes - 1)
    state.env["cells"] = columns, given, padded
    return bool(padded > PADDED_CELLS + 2 * given)


def _back_to_table(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens from the last one back to the beginning of the table."""
    for token in reversed(tokens):
        if token.type == "table_open":
            return
        yield token


def parse(
    source: str,
    references: References | None = None,
    *,
    number: int | None = None,
    gap: bool = False,
    first_line: int = 0,
    is_used: Callable[[str, int], bool] = lambda _label, _line: False,
) -> Parsed:
    """Parse text into leaves and units.

    The text may be the end of a longer one: `references` are the definitions before it, `number` is the
    number of the list item at its start, `gap` is true if a blank line precedes it, and `first_line` is its
    line number, which is added to the lines of containers. `is_used` returns whether a label was used above
    a line; if so, the definition came too late for that link, and is shown as text.

    Underlined text is a heading only if it has at most MAX_UNDERLINED characters; dashes below a longer
    paragraph are a rule.
    """
    env: dict[str, Any] = {"references": dict(references or {})}
    tokens = parser().parse(source, env)
    walk = _Walk(source, number, first_line)
    leaves = list(walk.leaves(tokens))
    known = references or {}
    defined = {label: definition for label, definition in env["references"].items() if label not in known}
    for label, definition in defined.items():
        begin, end = definition["map"]
        if is_used(label, begin):
            shown = f"[{label.lower()}]: {definition['href']}"
            leaves.append(Leaf(LeafKind.DEFINITION, shown, (), begin, end))
    leaves.sort(key=lambda leaf: leaf.begin)
    return Parsed(list(walk.with_gaps(leaves, gap)), walk.units, defined)


class _Walk:
    """Iterates over markdown-it's tokens, and tracks open containers."""

    def __init__(self, source: str, number: int | None, first_line: int) -> None:
        self._first_line = first_line
        self._lines = source.split("\n")
        self._number = number
        self.units: list[Unit] = []
        self._containers: list[Container] = []
        self._counts: list[int | None] = []

    def leaves(self, tokens: Sequence[Token]) -> Iterator[Leaf]:
        """Yield the leaves, and collect the units."""
        place = 0
        while place < len(tokens):
            token = tokens[place]
            place += 1
            if token.type in _CONTAINERS:
                yield from self._container(token, tokens[place] if place < len(tokens) else token)
            elif token.type == "table_open":
                self._add_unit(token)
                end = next(i for i in range(place, len(tokens)) if tokens[i].type == "table_close")
                yield self._table(token, tokens[place:end])
                place = end + 1
            elif token.type not in _INSIDE:
                self._add_unit(token)
                yield self._block(token, tokens[place] if place < len(tokens) else token)

    def _container(self, token: Token, inside: Token) -> Iterator[Leaf]:
        """Open or close a container; yield a leaf for an empty one."""
        match token.type:
            case "bullet_list_open":
                self._counts.append(None)
            case "ordered_list_open":
                continues = self._number is not None and not self.units
                self._counts.append(self._number if continues else int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                self._counts.pop()
            case "list_item_open":
                self._open_item(token)
            case "blockquote_open":
                self._add_unit(token)
                self._containers.append(Container("│ ", "│ ", self._first_line + _map(token)[0]))
            case _:
                self._containers.pop()
        if inside.type in {"list_item_close", "blockquote_close"} and token.nesting == 1:
            yield self._leaf(LeafKind.EMPTY, "", token)

    def _open_item(self, token: Token) -> None:
        count = self._counts[-1]
        self._add_unit(token, count)
        head = "• " if count is None else f"{count}. "
        if count is not None:
            self._counts[-1] = count + 1
        self._containers.append(Container(head, " " * len(head), self._first_line + _map(token)[0]))

    def _add_unit(self, token: Token, number: int | None = None) -> None:
        """Add a unit if the block or list item is not in a container."""
        if not self._containers:
            self.units.append(Unit(*_map(token), number))

    def _leaf(self, kind: LeafKind, content: str, token: Token, **more: Any) -> Leaf:
        begin, end = _map(token)
        return Leaf(kind, content, tuple(self._containers), begin, end, **more)

    def _block(self, token: Token, inside: Token) -> Leaf:
        match token.type:
            case "heading_open":
                return self._leaf(LeafKind.HEADING, inside.content, token, level=int(token.tag[1:]))
            case "fence":
                begin, end = _map(token)
                info = token.info.strip()
                return self._leaf(
                    LeafKind.FENCE,
                    token.content,
                    token,
                    fence=f"{token.markup}{info}",
                    info=info,
                    closed=end - begin == len(code_lines(token.content)) + 2,
                )
            case "code_block":
                return self._leaf(LeafKind.INDENTED, token.content.rstrip("\n"), token)
            case "hr":
                return self._leaf(LeafKind.RULE, "", token)
            case _:
                return self._leaf(LeafKind.PARAGRAPH, inside.content, token)

    def _table(self, token: Token, inside: Sequence[Token]) -> Leaf:
        rows: list[list[str]] = []
        aligns: list[str] = []
        for child in inside:
            if child.type == "tr_open":
                rows.append([])
            elif child.type == "inline":
                rows[-1].append(child.content)
            elif child.type == "th_open":
                style = str(child.attrs.get("style", ""))
                aligns.append(style.partition(":")[2] or "left")
        return self._leaf(LeafKind.TABLE, "", token, table=tuple(map(tuple, rows)), aligns=tuple(aligns))

    def with_gaps(self, leaves: Sequence[Leaf], gap: bool) -> Iterator[Leaf]:  # noqa: FBT001 - internal
        """Yield the leaves, each with `gap` set if a blank line precedes it."""
        end = 0
        for place, leaf in enumerate(leaves):
            blank = any(_BLANK.fullmatch(line) for line in self._lines[end : leaf.begin])
            yield _with_gap(leaf) if blank or (gap and not place) else leaf
            end = leaf.end


def _with_gap(leaf: Leaf) -> Leaf:
    values = {name: getattr(leaf, name) for name in Leaf.__slots__}
    return Leaf(**values | {"gap": True})


def code_lines(content: str) -> list[str]:
    """Return the lines of code, including empty ones."""
    return content.removesuffix("\n").split("\n") if content else []


def _map(token: Token) -> tuple[int, int]:
    begin, end = token.map or (0, 0)
    return begin, end
