"""Highlights code line by line with Pygments. The colors of a line do not depend on the lines below it.

Highlighting the whole text would be more accurate, since later text can change the meaning of earlier text
(for example, by closing a comment), but printed rows cannot be repainted.
"""

from functools import lru_cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, String, Token, _TokenType, is_token_subtype
from pygments.util import ClassNotFound
from rich.style import Style
from rich.text import Text

from hermes_cli.screen import theme

CONTEXT_LINES = 16
"""Maximum number of preceding lines that are lexed as context. When it is reached, the context restarts after
the last line that ends outside a string or comment."""
PEEK_CONTEXT_LINES = 3
"""Number of preceding lines that are lexed for an incomplete line. More are lexed if it starts inside a
longer string or comment."""
MAX_CHARACTERS = 8000
"""Maximum number of characters in the context, and in a line. Longer text, such as minified code, is slow to
lex."""


CONTEXT_CHARACTERS = 100_000
"""Maximum number of characters of all contexts of one answer. After that, lines are lexed without context."""


class ContextAllowance:
    """The characters that are left for the contexts of an answer's code blocks."""

    def __init__(self, characters: int = CONTEXT_CHARACTERS) -> None:
        self.left = characters


class Highlighter:
    """Highlights the lines of one block of code, in order."""

    def __init__(self, language: str, allowance: ContextAllowance | None = None) -> None:
        self._allowance = allowance or ContextAllowance()
        self._lexer = _lexer(language.split(maxsplit=1)[0]) if language.split() else None
        self._lines: list[str] = []
        self._safe_start = 0
        self._peeked: tuple[str, Text] | None = None

    def add(self, line: str) -> Text:
        """Return the next line, highlighted."""
        text, inside = self._highlight(self._lines, line)
        self._peeked = None
        self._lines.append(line)
        if not inside:
            self._safe_start = len(self._lines)
        length = sum(map(len, self._lines))
        self._allowance.left -= length
        is_too_long = length > MAX_CHARACTERS or self._allowance.left < 0
        if len(self._lines) >= CONTEXT_LINES or is_too_long:
            if self._safe_start:
                del self._lines[: self._safe_start]
            elif is_too_long:
                self._lines.clear()
            self._safe_start = 0
        return text

    def peek(self, line: str) -> Text:
        """Return the incomplete next line, highlighted with only the last few lines as context."""
        if self._peeked is None or self._peeked[0] != line:
            first = max(0, min(self._safe_start, len(self._lines) - PEEK_CONTEXT_LINES))
            self._peeked = line, self._highlight(self._lines[first:], line)[0]
        return self._peeked[1].copy()

    def _highlight(self, above: list[str], line: str) -> tuple[Text, bool]:
        """Return the highlighted line, and whether it ends inside a string or a comment."""
        if self._lexer is None or len(line) > MAX_CHARACTERS:
            return Text(line), False
        text, number, inside = Text(), 0, False
        for kind, words in self._lexer.get_tokens("".join(f"{code_line}\n" for code_line in (*above, line))):
            for place, part in enumerate(words.split("\n")):
                if place:
                    if number == len(above):
                        inside = is_token_subtype(kind, String) or is_token_subtype(kind, Comment)
                    number += 1
                if number == len(above):
                    text.append(part, _style(kind))
        return (text, inside) if text.plain == line else (Text(line), False)


@lru_cache(64)
def _lexer(language: str) -> Lexer | None:
    try:
        # Only the PHP lexer has the `startinline` option. PHP code in answers seldom begins with `<?php`.
        return get_lexer_by_name(language, stripnl=False, startinline=True)
    except ClassNotFound:
        return None


@lru_cache(512)
def _style(kind: _TokenType) -> Style:
    while kind not in theme.SYNTAX:
        kind = kind.parent or Token
    return theme.SYNTAX[kind]
