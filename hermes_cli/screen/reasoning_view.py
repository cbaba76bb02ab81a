"""Shows the reasoning of a model while it is generated: dimmed on standard error, or folded to one line."""

import re
import time
from collections.abc import Callable, Iterable

from hermes_cli.screen.cells import cell_count
from hermes_cli.screen.sanitize import sanitize
from hermes_cli.screen.terminal import Terminal

PREVIEW_CHARACTERS = 200
"""The last characters of the reasoning that the status line shows, if it has room."""

LONGEST_WORD = 20
"""Characters of a word that are held back until it ends, so that the line can be broken before it."""
_PIECE = re.compile(r"\n|[^\S\n]*[^\s]+|[^\S\n]+")
"""A newline, or a word with the space before it."""


class ReasoningView:
    """The display of one reasoning. If it is not `shown`, `status` is its line."""

    def __init__(
        self, terminal: Terminal, *, shown: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._terminal = terminal
        self.shown = shown
        self._clock = clock
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._last = ""
        self._word = ""
        """The last piece of the text, which can still grow."""
        self._column = 0

    @property
    def has_begun(self) -> bool:
        """Whether there is any reasoning."""
        return self._began_at is not None

    @property
    def seconds(self) -> float:
        """The time since the reasoning began, until it ended."""
        end = self._clock() if self._ended_at is None else self._ended_at
        return end - (end if self._began_at is None else self._began_at)

    @property
    def status(self) -> str:
        """The reasoning in one line: its time and its last words."""
        words = " ".join(self._last[-PREVIEW_CHARACTERS:].split())
        return " · ".join(filter(None, (f"thinking · {self.seconds:.0f} s", words)))

    def write(self, text: str) -> None:
        """Add the next piece of the reasoning."""
        if self._began_at is None:
            self._began_at = self._clock()
            text = text.lstrip()
        self._last = (self._last + text)[-PREVIEW_CHARACTERS:]
        if self.shown:
            *pieces, last = _PIECE.findall(self._word + sanitize(text)) or [""]
            is_long = len(last) > LONGEST_WORD
            self._word = "" if is_long else last
            self._print([*pieces, last] if is_long else pieces)

    def end(self) -> None:
        """End the reasoning; later calls do nothing."""
        if self._began_at is None or self._ended_at is not None:
            return
        self._ended_at = self._clock()
        if self.shown:
            self._print([self._word])
            self._print(["\n", "\n"] if self._column else ["\n"])

    def _print(self, pieces: Iterable[str]) -> None:
        text = "".join(map(self._placed, pieces))
        if text:
            self._terminal.dimmed(text)

    def _placed(self, piece: str) -> str:
        """Return a newline or a word, on a new line if the word does not fit into this one."""
        if piece == "\n":
            self._column = 0
            return piece
        cells = cell_count(piece)
        if self._column and self._column + cells > self._terminal.size()[0]:
            word = piece.lstrip()
            self._column = cell_count(word)
            return f"\n{word}"
        self._column += cells
        return piece
