"""Renders Markdown incrementally. Final rows are returned once, and the other rows on every call.

The rows do not depend on how the text is split into pieces. They are the same as those of the whole text at
once, unless a link is used above its definition: then the link stays as written, and the definition is
shown.
"""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate

from rich.text import Text

from hermes_cli.screen import theme
from hermes_cli.screen.markdown.block_structure import Container, Leaf, Parsed, References, parse
from hermes_cli.screen.markdown.code import ContextAllowance, Highlighter
from hermes_cli.screen.markdown.layout import LayoutSettings, LeafLayout, gap_prefix, lay_out, row_prefixes
from hermes_cli.screen.markdown.references import ReferencesAbove, UsedLabels

_UNDECIDED = re.compile(r"[ \t>]*(?:[-*+_=`~#|:> \t]*|\d{1,9}[.)]?)[ \t]*")
"""An incomplete line that may still become any kind of block: a rule, a list, a heading, a fence."""


class MarkdownStream:
    """Text that is still growing. `speech` highlights text in quotation marks, for roleplay."""

    def __init__(self, *, speech: bool = False) -> None:
        self._speech = speech
        self._tail = _Tail()
        self._done = 0  # number of leaves in the tail that were returned completely
        self._begun = False  # whether the first row of the next leaf was returned
        self._at = 0  # offset in that leaf up to which rows were returned
        self._containers: tuple[Container, ...] = ()  # of the last leaf that was returned
        self._code: dict[tuple[int, str], _Code] = {}
        self._code_allowance = ContextAllowance()

    def feed(self, text: str) -> None:
        """Add the next piece, which is already sanitized."""
        self._tail.text += text

    def rows(self, width: int, *, ended: bool = False) -> tuple[list[Text], list[Text]]:
        """Return the rows that became final since the last call, and the rows that may still change.

        With `ended`, the text is complete and all rows are final.
        """
        settings = LayoutSettings(max(width, 1), self._speech)
        final = self._close_leaves(settings, ended=ended)
        return (final, []) if ended else self._open_leaves(settings, final)

    def _close_leaves(self, settings: LayoutSettings, *, ended: bool) -> list[Text]:
        """Return the remaining rows of leaves that are complete, and advance past them."""
        tail, rows = self._tail, list[Text]()
        source = tail.text if ended else tail.complete_lines
        if len(source) == tail.searched_length and not ended:
            return rows
        parsed = tail.parse(source)
        tail.searched_length = len(source)
        closed = parsed.leaves if ended else parsed.leaves[:-1]
        for leaf in closed[self._done :]:
            rows += self._next(leaf, settings)[0]
            self._containers, self._begun, self._at = leaf.containers, False, 0
        self._done = max(self._done, len(closed))
        if not ended:
            dropped = tail.drop_finished_leaves(parsed)
            self._done -= dropped
            if dropped:
                self._code = {key: code for key, code in self._code.items() if key[0] >= tail.line}
        return rows

    def _open_leaves(self, settings: LayoutSettings, final: list[Text]) -> tuple[list[Text], list[Text]]:
        """Return `final` with the final rows of the growing leaf appended, and all other rows."""
        tail = self._tail
        shown = tail.complete_lines if _UNDECIDED.fullmatch(tail.incomplete_line) else tail.text
        leaves = tail.parse(shown).leaves[self._done :]
        if len(leaves) == 1:
            rows, layout = self._next(leaves[0], settings, is_open=True, is_partial=not shown.endswith("\n"))
            count = layout.settled and layout.settled + len(rows) - len(layout.rows)
            if count:
                self._begun, self._at = True, layout.ends[layout.settled - 1]
            return [*final, *rows[:count]], rows[count:]
        live, before, partial = list[Text](), self._containers, not shown.endswith("\n")
        for place, leaf in enumerate(leaves):
            last = place == len(leaves) - 1
            begun, at = (self._begun, self._at) if not place else (False, 0)
            rows, _ = self._with_prefixes(
                leaf, settings, before, begun, at, is_open=last, is_partial=last and partial
            )
            live += rows
            before = leaf.containers
        return final, live

    def _next(
        self, leaf: Leaf, settings: LayoutSettings, *, is_open: bool = False, is_partial: bool = False
    ) -> tuple[list[Text], LeafLayout]:
        """Return the rows of the next leaf that were not returned yet, and their layout."""
        return self._with_prefixes(
            leaf, settings, self._containers, self._begun, self._at, is_open=is_open, is_partial=is_partial
        )

    def _with_prefixes(
        self,
        leaf: Leaf,
        settings: LayoutSettings,
        before: Sequence[Container],
        begun: bool,  # noqa: FBT001 - internal
        at: int,
        *,
        is_open: bool,
        is_partial: bool,
    ) -> tuple[list[Text], LeafLayout]:
        """Return the rows of a leaf with the prefixes of its containers, and their layout."""
        head, rest = row_prefixes(leaf, before, settings.width)
        inner = LayoutSettings(max(1, settings.width - len(rest)), settings.speech)
        references = self._tail.references_above(leaf)

        def code_line(number: int, line: str, is_complete: bool) -> Text:  # noqa: FBT001 - a callback
            key = self._tail.line + leaf.begin, leaf.fence
            if key not in self._code:
                self._code[key] = _Code(leaf.info, self._code_allowance)
            return self._code[key].line(number, line, is_complete)

        layout = lay_out(leaf, inner, references, code_line, at=at, is_open=is_open, is_partial=is_partial)
        rows = []
        if leaf.gap and not begun:
            rows.append(Text(gap_prefix(leaf, before, settings.width), theme.MARK))
        for place, row in enumerate(layout.rows):
            mark = rest if begun or place else head
            rows.append(Text.assemble((mark, theme.MARK), row) if mark else row)
        return rows, layout


class _Code:
    """The lines of one code block; each complete line is highlighted once."""

    def __init__(self, info: str, allowance: ContextAllowance) -> None:
        self._highlighter = Highlighter(info, allowance)
        self._lines: list[Text] = []

    def line(self, number: int, line: str, is_complete: bool) -> Text:  # noqa: FBT001 - a callback
        """Return a highlighted line, which must be the next one or an earlier one."""
        if number < len(self._lines):
            return self._lines[number]
        if not is_complete:
            return self._highlighter.peek(line)
        self._lines.append(self._highlighter.add(line))
        return self._lines[number]


class _Tail:
    """The end of the text, from the last line at which parsing can restart.

    `line` is the number of lines before it, and `searched_length` the number of its characters that were
    searched for complete leaves.
    """

    def __init__(self) -> None:
        self.text = ""
        self.line = 0
        self.searched_length = 0
        self._labels = UsedLabels()
        self._references: References = {}
        self._tail_references: References = {}
        self._number: int | None = None
        self._gap = False

    @property
    def complete_lines(self) -> str:
        """The tail up to its last newline."""
        return self.text[: self.text.rfind("\n") + 1]

    @property
    def incomplete_line(self) -> str:
        """The incomplete last line."""
        return self.text[self.text.rfind("\n") + 1 :]

    def parse(self, source: str) -> Parsed:
        """Return the leaves of `source`, which is the tail or its beginning."""
        parsed = parse(
            source,
            self._references,
            number=self._number,
            gap=self._gap,
            first_line=self.line,
            is_used=self._label_check(),
        )
        self._tail_references = parsed.references
        return parsed

    def references_above(self, leaf: Leaf) -> References:
        """Return the link definitions above the end of a leaf, as of the last call to `parse`."""
        return ReferencesAbove(self._references, self._tail_references, leaf.end)

    def drop_finished_leaves(self, parsed: Parsed) -> int:
        """Drop the text before the unit that contains the last leaf; return the number of dropped leaves."""
        if not parsed.leaves or not parsed.units:
            return 0
        last = parsed.leaves[-1]
        place = max((n for n, unit in enumerate(parsed.units) if unit.begin <= last.begin), default=0)
        if not place:
            return 0
        lines = self.text.split("\n")
        begin = parsed.units[place - 1].end
        while not lines[begin].strip():
            begin += 1
        dropped = sum(leaf.begin < begin for leaf in parsed.leaves)
        above = "".join(f"{line}\n" for line in lines[:begin])
        self._gap, self._number = parsed.leaves[dropped].gap, parsed.units[place].number
        self._references = {
            **self._references,
            **{label: link for label, link in parsed.references.items() if link["map"][1] <= begin},
        }
        self._labels.drop(above)
        self.text = self.text[len(above) :]
        self.searched_length -= len(above)
        self.line += begin
        return dropped

    def _label_check(self) -> Callable[[str, int], bool]:
        """Return a function that returns whether a label occurs in brackets above a line of the tail."""
        labels: UsedLabels | None = None
        starts: list[int] = []

        def is_used(label: str, line: int) -> bool:
            nonlocal labels, starts
            if labels is None:
                labels = self._labels.within(self.text)
                starts = list(accumulate((len(text) + 1 for text in self.text.split("\n")), initial=0))
            return labels.is_used(label, starts[line])

        return is_used
