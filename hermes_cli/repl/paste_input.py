"""Keyboard input for prompt_toolkit that parses a paste in time linear in its length.

prompt_toolkit searches the whole paste again for each kilobyte that arrives, so 10 MB take most of a minute.
PasteParser searches each piece once, and keeps only the length of a paste that is too long. It also drops
key sequences that are too long, such as the report of a cursor position with thousands of digits:
prompt_toolkit parses them in quadratic time and memory, and raises an error for the number.
"""

import re
from collections.abc import Callable
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

BEGIN, END = "\x1b[200~", "\x1b[201~"
MAX_NUMBERS = 32
"""Digits and semicolons of a key sequence. The reports of the mouse and of the cursor have at most 15."""
_TOO_LONG = re.compile(rf"\x1b\[<?[0-9;]{{{MAX_NUMBERS}}}")
_INCOMPLETE = re.compile(r"(?:\x1b(?:\[(?:<?[0-9;]*)?)?)?\Z")
_NUMBERS = frozenset("0123456789;")


class PasteParser(Vt100Parser):
    """Extracts bracketed pastes from terminal input, and passes everything else to prompt_toolkit.

    If a paste has more than `limit` characters, it is dropped, and `refused` is called with its length.
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
        self._begun = ""
        self._skips = False

    def feed(self, data: str) -> None:
        """Parse the next piece of input."""
        data, self._held = self._held + data, ""
        while data:
            mark = END if self._pasting else BEGIN
            before, found, after = data.partition(mark)
            if not found:
                held = next((n for n in range(len(mark) - 1, 0, -1) if before.endswith(mark[:n])), 0)
                before, self._held = before[: len(before) - held], before[len(before) - held :]
            if self._pasting:
                self._take(before)
            else:
                self._press(before)
            if found and not self._pasting:
                self._end_keys()  # an incomplete key sequence is delivered before the paste
            if found:
                self._pasting = not self._pasting
                if not self._pasting:
                    self._deliver()
            data = after

    def flush(self) -> None:
        """Parse the input that was held back as ordinary keys, since nothing followed it."""
        if not self._pasting:
            held, self._held = self._held, ""
            self._press(held)
        self._end_keys()

    def _end_keys(self) -> None:
        self._begun, self._skips = "", False
        super().flush()

    def _press(self, text: str) -> None:
        """Parse keys, without sequences that are too long."""
        text, parsed, start = self._begun + text, len(self._begun), 0
        if self._skips:
            parsed = start = self._skip(text, 0)
        while found := _TOO_LONG.search(text, start):
            super().feed(text[parsed : found.end()])
            super().reset()
            parsed = start = self._skip(text, found.end())
        super().feed(text[parsed:])
        incomplete = _INCOMPLETE.search(text, start)
        self._begun = incomplete[0] if incomplete and not self._skips else ""

    def _skip(self, text: str, start: int) -> int:
        """Return the end of the key sequence that continues at `start`."""
        while start < len(text) and text[start] in _NUMBERS:
            start += 1
        self._skips = start == len(text)
        return start if self._skips or not "@" <= text[start] <= "~" else start + 1

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
    """Return a keyboard input that parses standard input with a PasteParser."""
    terminal = Vt100Input(stdin)
    terminal.vt100_parser = PasteParser(terminal.vt100_parser.feed_key_callback, limit, refused)
    return terminal
