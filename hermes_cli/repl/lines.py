"""What a reader hands to the loop, and the reader of a pipe."""

from dataclasses import dataclass
from typing import IO, Protocol

from hermes_cli.chat.text import decode


@dataclass(frozen=True, slots=True)
class Line:
    """A turn as it was typed. `verbatim` text is no command, whatever it begins with."""

    text: str
    verbatim: bool = False


class Reader(Protocol):
    """Where turns come from: a person at a prompt, or the lines of standard input."""

    def read(self) -> Line | None:
        """Return the next turn, or None when there are no more."""


class LineReader:
    """Standard input, one turn a line."""

    def __init__(self, stdin: IO[bytes]) -> None:
        self._stdin = stdin
        self._number = 0

    def read(self) -> Line | None:
        """Return the next line without its newline. Raises UsageError for one that is no UTF-8 text."""
        line = self._stdin.readline()
        if not line:
            return None
        self._number += 1
        return Line(decode(line.removesuffix(b"\n"), f"line {self._number}"))
