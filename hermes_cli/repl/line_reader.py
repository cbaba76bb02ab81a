"""Lines of input, the reader for piped input, and triple-quoted blocks."""

from collections.abc import Callable
from typing import IO, NamedTuple, Protocol

from hermes_cli.chat.input_text import MAX_BYTES, check_input_size, text_of
from hermes_cli.errors import UsageError

PROMPT = "> "
CONTINUATION = ". "


class Line(NamedTuple):
    """A line or block of input. If `verbatim` is true, the text is never parsed as a command."""

    text: str
    verbatim: bool = False


class TurnReader(Protocol):
    """A source of input: the user at a prompt, or the lines of standard input."""

    def read(self) -> Line | None:
        """Return the next line, or None at the end of input."""


class LineReader:
    """Reads standard input, one turn per line or per block between triple quotes.

    `show_prompt` is called with PROMPT or CONTINUATION before each line that is read.
    """

    def __init__(self, stdin: IO[bytes], show_prompt: Callable[[str], None] = lambda _prompt: None) -> None:
        self._stdin = stdin
        self._show_prompt = show_prompt
        self._number = 0
        self._ended = False

    def read(self) -> Line | None:
        """Return the next line without its line break and without a byte-order mark, or the next block.

        Raises UsageError if it is not UTF-8 text, or too long; the rest of the input is then not read. Also
        raises UsageError if the input ends inside a block.
        """
        line = self._next_line(PROMPT)
        if line is None:
            return None
        begin = self._number
        text = text_of(line, f"line {begin}")
        if is_open_block(text):
            text = text_of(self._block(line), f"the block from line {begin} to {self._number}")
        return typed_line(text)

    def _block(self, first: bytes) -> bytes:
        """Return the whole block that begins with the line `first`."""
        begin, lines, size = self._number, [first], len(first)
        while len(lines) == 1 or not lines[-1].rstrip().endswith(BLOCK_MARK.encode()):
            line = self._next_line(CONTINUATION)
            if line is None:
                raise UsageError(
                    f"the block that begins in line {begin} is not closed", f"end it with {BLOCK_MARK}"
                )
            lines.append(line)
            size += len(line) + 1
            if size > MAX_BYTES:
                self._ended = True
                check_input_size(b"\n".join(lines), f"the block from line {begin}")
        return b"\n".join(lines)

    def _next_line(self, prompt: str) -> bytes | None:
        if self._ended:
            return None
        self._show_prompt(prompt)
        line = self._stdin.readline(MAX_BYTES + 2)
        if not line:
            return None
        self._number += 1
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        self._ended = len(line) > MAX_BYTES
        return check_input_size(line, f"line {self._number}")


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


def typed_line(text: str) -> Line:
    """Return the line with this text; if it is a complete block, return the content of the block."""
    content = block_content(text)
    return Line(text) if content is None else Line(content, verbatim=True)
