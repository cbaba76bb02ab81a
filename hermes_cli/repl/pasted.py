"""Pasted text at the prompt: a large one is shown folded and sent in full; one that is too large is refused.

It knows texts and the marks that stand for them. It refuses to know how a terminal sends a paste.
"""

from hermes_cli.screen.columns import counted

OPENING = "[pasted "
"""How a mark begins. A short text that holds this is folded, too, lest it be taken for one."""
MANY_LINES = 8
MANY_CHARACTERS = 2000
MAX_CHARACTERS = 1_000_000
"""What is longer belongs into a file: `/file` sends one."""


class Pastes:
    """The texts that were folded in the line that is being typed, by the mark that stands for each."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """Return what is put into the line for a pasted text: the text, or a mark that stands for it."""
        lines = text.rstrip("\n").count("\n") + 1
        if lines <= MANY_LINES and len(text) <= MANY_CHARACTERS and OPENING not in text:
            return text
        what = counted(lines, "line") if lines > MANY_LINES else counted(len(text), "character")
        mark, number = f"{OPENING}{what}]", 1
        while mark in self._texts:
            number += 1
            mark = f"{OPENING}{what} #{number}]"
        self._texts[mark] = text
        return mark

    def unfold(self, line: str) -> str:
        """Return the line with the texts in the places of their marks.

        A mark is looked for once, where it was put: what a text itself spells is never taken for one.
        """
        pieces, rest = list[str](), line
        while found := min(((rest.find(mark), mark) for mark in self._texts if mark in rest), default=None):
            place, mark = found
            pieces += [rest[:place], self._texts[mark]]
            rest = rest[place + len(mark) :]
        return "".join([*pieces, rest])

    def mark_before(self, text: str) -> str:
        """Return the mark with which the text ends, or nothing."""
        return next((mark for mark in self._texts if text.endswith(mark)), "")

    def clear(self) -> None:
        """Forget the texts."""
        self._texts.clear()
