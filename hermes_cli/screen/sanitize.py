"""Makes untrusted text safe to print in a terminal.

Invisible characters, and those that control a terminal or reorder a line, are removed or replaced by visible
ones. Each character is handled separately, so the result does not depend on how the text is split: an escape
sequence that is split over two chunks still loses its ESC.
"""

from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
_CONTROL_PICTURES: Final = 0x2400


def _table() -> dict[int, str | None]:
    """Return a map from each unsafe code point to its replacement, or to None if it is removed."""
    table: dict[int, str | None] = {}
    # Unicode has control pictures for C0 and DEL, but not for C1, which contains an 8-bit CSI.
    table.update({c: chr(_CONTROL_PICTURES + c) for c in range(0x20)})
    table[0x7F] = "\N{SYMBOL FOR DELETE}"
    table.update(dict.fromkeys(range(0x80, 0xA0), REPLACEMENT))
    table.update({0x2028: "\n", 0x2029: "\n"})  # Unicode's own line and paragraph separators
    table.update(dict.fromkeys(range(0xFFF9, 0xFFFC), REPLACEMENT))  # interlinear annotation
    table.update(dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT))  # surrogates
    table.update(dict.fromkeys(range(0xFDD0, 0xFDF0), REPLACEMENT))  # noncharacters, here and below
    table.update({plane * 0x10000 + c: REPLACEMENT for plane in range(17) for c in (0xFFFE, 0xFFFF)})
    # Directional controls can make a line read differently from what it contains.
    bidirectional = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    deprecated_format = range(0x206A, 0x2070)
    tags = range(0xE0000, 0xE0080)  # invisible ASCII; removing it also breaks three flag emoji
    table.update(dict.fromkeys((0xFEFF, *bidirectional, *deprecated_format, *tags)))
    table[ord("\r")] = None  # CR LF ends a line; CR alone would overwrite it
    del table[ord("\n")], table[ord("\t")]
    return table


_TABLE: Final = _table()
_ONE_LINE: Final = {ord("\n"): " ", ord("\t"): " ", 0x200B: None, 0x2060: None}
"""For notices. Text may contain zero-width spaces and word joiners, but names must not hide any."""


def sanitize(text: str) -> str:
    r"""Return `text` without control characters that a terminal would interpret, except \n and \t.

    sanitize(a) + sanitize(b) == sanitize(a + b) for any a and b, and sanitize(sanitize(a)) == sanitize(a).
    """
    return text.translate(_TABLE)


LONG_LINE = 2000
"""Limit in characters for a line that must be complete, such as a command or the reason for a plan."""


def sanitize_line(text: str, limit: int = 120) -> str:
    """Return `text` fit for a one-line notice: without line breaks, and at most `limit` characters.

    Longer text is cut and ends in an ellipsis, which counts toward `limit`.
    """
    line = sanitize(text).translate(_ONE_LINE)
    return line if len(line) <= limit else line[: limit - 1] + ELLIPSIS
