"""Formats values as TOML 1.0 text for editing by hand: texts keep their lines, and few quotes are escaped."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_ESCAPES: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f"
_IN_LINES: Final = re.compile(rf'[{_CONTROLS}\\]|"(?=""|\Z)')  # three quotes would end the string
_IN_LINE: Final = re.compile(rf'[{_CONTROLS}\t\n"\\]')
_NOT_LITERAL: Final = re.compile(rf"[{_CONTROLS}\n']")
_LIST_WIDTH: Final = 90


def assignments(values: Mapping[str, Any]) -> str:
    """Return `key = value` lines. The values are strings, numbers, booleans, and lists of strings."""
    return "".join(f"{key} = {value(one)}\n" for key, one in values.items())


def value(of: str | bool | float | Sequence[str]) -> str:  # noqa: FBT001 - a TOML value may be a boolean
    """Return a value as TOML."""
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, int | float):
        return repr(of)
    return text(of) if isinstance(of, str) else _list(of)


def text(of: str) -> str:
    """Return a string as TOML, in the quotes that need the fewest escapes.

    A string with several lines, or with both kinds of quotes, is in triple quotes. Line ends are preserved:
    a CR is written as an escape.
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
