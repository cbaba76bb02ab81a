"""Values as TOML 1.0 text, laid out for somebody who reads and edits them.

It knows how a text stays readable: its lines as lines, its quotes as quotes. Writers that escape every quote
and put a letter's paragraphs on one line were not made for prose. It refuses to know what the keys mean.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_ESCAPES: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f"
_IN_LINES: Final = re.compile(rf'[{_CONTROLS}\\]|"(?=""|\Z)')  # three quotes would end the text
_IN_LINE: Final = re.compile(rf'[{_CONTROLS}\t\n"\\]')
_NOT_LITERAL: Final = re.compile(rf"[{_CONTROLS}\n']")
_LIST_WIDTH: Final = 90


def assignments(values: Mapping[str, Any]) -> str:
    """Return `key = value` lines. The values are texts, numbers, booleans, and lists of texts."""
    return "".join(f"{key} = {value(one)}\n" for key, one in values.items())


def value(of: str | bool | float | Sequence[str]) -> str:  # noqa: FBT001 - TOML has that type, too
    """Return a value."""
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, int | float):
        return repr(of)
    return text(of) if isinstance(of, str) else _list(of)


def text(of: str) -> str:
    """Return a text in the quotes in which the least of it must be escaped.

    What has several lines, or both kinds of quotes, stands between three. No line end is normalised: a CR is
    written as an escape.
    """
    if "\n" not in of and ('"' not in of or not _NOT_LITERAL.search(of)):
        return f"'{of}'" if '"' in of else f'"{_IN_LINE.sub(_escaped, of)}"'
    return f'"""\n{_IN_LINES.sub(_escaped, of)}"""'


def _escaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0], f"\\u{ord(found[0]):04x}")


def _list(of: Sequence[str]) -> str:
    items = [text(one) for one in of]
    line = f"[{', '.join(items)}]"
    if len(line) <= _LIST_WIDTH and "\n" not in line:
        return line
    return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
