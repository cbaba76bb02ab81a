"""Reads and parses TOML with limits on size, depth, numbers and dotted keys."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from hermes_cli.untrusted.source import BOM, Source, read_text

MAX_BYTES: Final = 1 << 20
"""The size limit of a file."""
_MAX_WORK: Final = 100_000_000  # takes about a second
_STRINGS_AND_COMMENTS: Final = re.compile(
    r"""
    \# [^\n]*+
    | "{3} (?: [^"\\]++ | \\. | "(?!"") )*+ "{0,5}
    | '{3} (?: [^']++ | '(?!'') )*+ '{0,5}
    | " (?: [^"\\\n]++ | \\. )*+ "?
    | ' [^'\n]*+ '?
    """,
    re.DOTALL | re.VERBOSE,
)
_LONG_NUMBER: Final = re.compile(r"0[box][0-9A-Fa-f_]{1000}")
"""Python reads these in linear time and without a limit, but cannot print the number."""
_AT_END: Final = "(at end of document)"


def read(path: Path, source: Source) -> dict[str, Any]:
    """Read and parse a TOML file of at most MAX_BYTES. Raises `source.error`."""
    return parse(read_text(path, MAX_BYTES, source), source)


def parse(text: str, source: Source) -> dict[str, Any]:
    """Parse a TOML document. Raises `source.error`, with the line and column of a syntax error."""
    text = text.removeprefix(BOM)  # TOML 1.0 does not allow one
    values = _STRINGS_AND_COMMENTS.sub("", text)
    if _work(values) > _MAX_WORK:
        raise source.error("has a line with too many dots", "break the line, or shorten it")
    if _LONG_NUMBER.search(values):
        raise source.error("contains a number that is too long", "shorten it")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        line = text.count("\n") + 1
        column = len(text) - text.rfind("\n")
        place = str(problem).replace(_AT_END, f"(at line {line}, column {column}, the end of the file)")
        raise source.error(
            f"is not valid TOML: {place}",
            "write strings in quotes, and long ones in triple quotes; https://toml.io describes the format",
        ) from None
    except RecursionError:
        raise source.error("is nested too deeply", "reduce the nesting") from None
    except ValueError:
        raise source.error("contains a number that is too long", "shorten it") from None


def _work(values: str) -> int:
    """Return an upper bound of tomllib's work on dotted keys, from a text without strings and comments.

    The work grows with the square of a key's length, and with the length of a table header times the number
    of lines below it. Without a limit, 1 MB of "a.a.a" would take half an hour.
    """
    lines = values.split("\n")
    headers = max((line.count(".") for line in lines if line.lstrip(" \t").startswith("[")), default=0)
    return sum(line.count(".") ** 2 for line in lines) + 10 * headers * len(lines)
