"""Text that hermes did not write, made harmless for a terminal.

It knows which characters can steer a terminal, reorder a line or hide in it, and puts something visible in
their place or takes them out. It works character by character and keeps no state, so a text gives the same
result in whatever pieces it arrives: an escape sequence that is split over two chunks never gets its ESC.
It refuses to know escape sequences, Markdown and widths.
"""

from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
_CONTROL_PICTURES: Final = 0x2400


def _table() -> dict[int, str | None]:
    """Map a code point to its stand-in, or to None where leaving it out shows the text as it is."""
    table: dict[int, str | None] = {}
    # C0 and DEL have pictures of their own; C1 (which holds an 8-bit CSI) has none.
    table.update({c: chr(_CONTROL_PICTURES + c) for c in range(0x20)})
    table[0x7F] = "\N{SYMBOL FOR DELETE}"
    table.update(dict.fromkeys(range(0x80, 0xA0), REPLACEMENT))
    table.update({0x2028: "\n", 0x2029: "\n"})  # Unicode's own line and paragraph separators
    table.update(dict.fromkeys(range(0xFFF9, 0xFFFC), REPLACEMENT))  # interlinear annotation
    table.update(dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT))  # halves of characters
    table.update(dict.fromkeys(range(0xFDD0, 0xFDF0), REPLACEMENT))  # noncharacters, and two in each plane
    table.update({plane * 0x10000 + c: REPLACEMENT for plane in range(17) for c in (0xFFFE, 0xFFFF)})
    # Without these a line reads in the order in which it was written, which is the honest one.
    bidirectional = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    deprecated_format = range(0x206A, 0x2070)
    tags = range(0xE0000, 0xE0080)  # invisible ASCII; the price is the three flags that are spelt with it
    table.update(dict.fromkeys((0xFEFF, *bidirectional, *deprecated_format, *tags)))
    table[ord("\r")] = None  # CR LF ends a line; CR alone would overwrite it
    del table[ord("\n")], table[ord("\t")]
    return table


_TABLE: Final = _table()
_ONE_LINE: Final = {ord("\n"): " ", ord("\t"): " "}


def sanitize(text: str) -> str:
    r"""Return `text` with nothing in it that a terminal would obey, save \n and \t.

    sanitize(a) + sanitize(b) == sanitize(a + b) for any a and b, and sanitize(sanitize(a)) == sanitize(a).
    """
    return text.translate(_TABLE)


def sanitize_line(text: str, limit: int = 120) -> str:
    """Return `text` fit for the middle of a one-line notice: no line break, and at most `limit` characters.

    What is longer ends in an ellipsis, which counts as one of them.
    """
    line = sanitize(text).translate(_ONE_LINE)
    return line if len(line) <= limit else line[: limit - 1] + ELLIPSIS
