"""The turns that a reader returns to the loop, and the reader for piped input."""

from dataclasses import dataclass
from typing import IO, Protocol

from hermes_cli.chat.input_text import decode


@dataclass(frozen=True, slots=True)
class Line:
    """A turn as typed. A `verbatim` text is never parsed as a command."""

    text: str
    verbatim: bool = False


class Reader(Protocol):
    """A source of turns: a user at a prompt, or the lines of standard input."""

    def read(self) -> Line | None:
        """Return the next turn, or None when there are no more."""


class LineReader:
    """Reads standard input, one turn per line."""

    def __init__(self, stdin: IO[bytes]) -> None:
        self._stdin = stdin
        self._number = 0

    def read(self) -> Line | None:
        """Return the next line without its newline. Raises UsageError if it is not UTF-8 text."""
        line = self._stdin.readline()
        if not line:
            return None
        self._number += 1
        return Line(decode(line.removesuffix(b"\n"), f"line {self._number}"))
