"""The keyboard as hermes reads it: prompt_toolkit's, with pastes that cost what their length costs.

prompt_toolkit searches the whole of a paste again for each kilobyte that comes: 10 MB take it most of a
minute. Here each piece is looked at once, and of a paste that is too long nothing is kept but its length.
"""

from collections.abc import Callable
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

BEGIN, END = "\x1b[200~", "\x1b[201~"


class PasteParser(Vt100Parser):
    """Takes pastes out of what comes from a terminal, and leaves the rest to prompt_toolkit.

    `refused` is told the length of one that is longer than `limit`.
    """

    def __init__(
        self, feed_key: Callable[[KeyPress], None], limit: int, refused: Callable[[int], None]
    ) -> None:
        super().__init__(feed_key)
        self._limit = limit
        self._refused = refused
        self._pasting = False
        self._pieces: list[str] = []
        self._length = 0
        self._held = ""

    def feed(self, data: str) -> None:
        """Take what was typed or pasted."""
        data, self._held = self._held + data, ""
        while data:
            mark = END if self._pasting else BEGIN
            before, found, after = data.partition(mark)
            if not found:
                kept = next((n for n in range(len(mark) - 1, 0, -1) if before.endswith(mark[:n])), 0)
                before, self._held = before[: len(before) - kept], before[len(before) - kept :]
            if self._pasting:
                self._take(before)
            else:
                super().feed(before)
            if found and not self._pasting:
                super().flush()  # a key that was half there comes before the paste
            if found:
                self._pasting = not self._pasting
                if not self._pasting:
                    self._deliver()
            data = after

    def flush(self) -> None:
        """Take what was held back for what it is: nothing came behind it."""
        if not self._pasting:
            held, self._held = self._held, ""
            super().feed(held)
        super().flush()

    def _take(self, piece: str) -> None:
        self._length += len(piece)
        if self._length <= self._limit:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _deliver(self) -> None:
        text, length = "".join(self._pieces), self._length
        self._pieces, self._length = [], 0
        if length > self._limit:
            self._refused(length)
        else:
            self.feed_key_callback(KeyPress(Keys.BracketedPaste, text))


def keyboard(stdin: TextIO, limit: int, refused: Callable[[int], None]) -> Vt100Input:
    """Return the terminal on standard input, read with a PasteParser."""
    made = Vt100Input(stdin)
    made.vt100_parser = PasteParser(made.vt100_parser.feed_key_callback, limit, refused)
    return made
