"""Lines of input, the reader for piped input, and triple-quoted blocks."""

from dataclasses import dataclass
from typing import IO, Protocol

from hermes_cli.chat.input_text import MAX_BYTES, check_input_size, text_of


@dataclass(frozen=True, slots=True)
class Line:
    """A line or block of input. If `verbatim` is true, the text is never parsed as a command."""

    text: str
    verbatim: bool = False


class TurnReader(Protocol):
    """A source of input: the user at a prompt, or the lines of standard input."""

    def read(self) -> Line | None:
        """Return the next line, or None at the end of input."""


class LineReader:
    """Reads standard input, one turn per line."""

    def __init__(self, stdin: IO[bytes]) -> None:
        self._stdin = stdin
        self._number = 0
        self._ended = False

    def read(self) -> Line | None:
        """Return the next line without its line break and without a byte-order mark.

        Raises UsageError if it is not UTF-8 text, or too long; the rest of the input is then not read.
        """
        line = b"" if self._ended else self._stdin.readline(MAX_BYTES + 2)
        if not line:
            return None
        self._number += 1
        where, line = f"line {self._number}", line.removesuffix(b"\n").removesuffix(b"\r")
        self._ended = len(line) > MAX_BYTES
        return Line(text_of(check_input_size(line, where), where))


BLOCK_MARK = '"""'


def is_open_block(text: str) -> bool:
    """Return whether the text begins a block that is not closed yet."""
    text = text.rstrip()
    closed = len(text) >= 2 * len(BLOCK_MARK) and text.endswith(BLOCK_MARK)
    return text.startswith(BLOCK_MARK) and not closed


def block_content(text: str) -> str | None:
    """Return the text inside a block, or None if the text is not a complete block."""
    if not text.startswith(BLOCK_MARK) or is_open_block(text):
        return None
    return text.rstrip()[len(BLOCK_MARK) : -len(BLOCK_MARK)].strip("\n")
