"""Pasted text at the prompt: a long paste is shown as a mark, `[pasted 12 lines]`, and sent in full."""

from hermes_cli.screen.columns import pluralize

OPENING = "[pasted "
"""The beginning of a mark. A short paste that contains it is folded too, to avoid confusion with a mark."""
MANY_LINES = 8
MANY_CHARACTERS = 2000
MAX_CHARACTERS = 1_000_000
"""Longer pastes are rejected; `/file` sends longer text from a file."""


class Pastes:
    """The folded pastes in the edited line, by their marks."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """Return the text to insert for a paste: the paste itself, or a mark if it is long."""
        lines = text.rstrip("\n").count("\n") + 1
        if lines <= MANY_LINES and len(text) <= MANY_CHARACTERS and OPENING not in text:
            return text
        size = pluralize(lines, "line") if lines > MANY_LINES else pluralize(len(text), "character")
        mark, number = f"{OPENING}{size}]", 1
        while mark in self._texts:
            number += 1
            mark = f"{OPENING}{size} #{number}]"
        self._texts[mark] = text
        return mark

    def unfold(self, line: str) -> str:
        """Return the line with each mark replaced by its text.

        The inserted texts are not searched for marks.
        """
        pieces, rest = list[str](), line
        while found := min(((rest.find(mark), mark) for mark in self._texts if mark in rest), default=None):
            offset, mark = found
            pieces += [rest[:offset], self._texts[mark]]
            rest = rest[offset + len(mark) :]
        return "".join([*pieces, rest])

    def mark_before(self, text: str) -> str:
        """Return the mark at the end of the text, or an empty string."""
        return next((mark for mark in self._texts if text.endswith(mark)), "")

    def clear(self) -> None:
        """Remove all pastes."""
        self._texts.clear()
