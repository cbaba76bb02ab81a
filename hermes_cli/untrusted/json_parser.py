"""Parses JSON with limits on size, depth, values and numbers. If a key is repeated, the last one is used."""

import json
import math
import re
import sys
from functools import cache
from typing import Any, Final, NamedTuple

from hermes_cli.untrusted.source import BOM, Source, check_size, decode

MAX_DEPTH: Final = 100
"""A fixed limit, because the parser's limit varies by Python version: 1,000 in 3.11, over 30,000 in 3.14."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAYBE_SURROGATE: Final = re.compile(r"\\u[dD]|[\ud800-\udfff]")
"""A JSON document without a match has no surrogates, so that its strings need not be searched one by one."""
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|[\]}]', re.DOTALL)
_HINT: Final = "it is damaged, or was edited by hand: compare it with the original"


class UnfitNumber:
    """Replaces a number that is too long or not finite. An error is raised only if the number is used."""


class JsonLimits(NamedTuple):
    """The limits of a JSON document: bytes, digits in a number, brackets, and commas.

    The last two limit memory use: an empty list takes two bytes of text, but 56 bytes of memory. If
    `marks_numbers` is true, a number beyond the limits becomes an UnfitNumber instead of an error.
    """

    size: int
    digits: int = 100
    brackets: int = sys.maxsize
    commas: int = sys.maxsize
    marks_numbers: bool = False
    allows_infinity: bool = False
    allows_surrogates: bool = False


class _InvalidValueError(ValueError):
    """A value that is not allowed in JSON or by the limits."""


def parse(data: bytes, source: Source, limits: JsonLimits) -> Any:
    """Parse a JSON document in UTF-8. Raises `source.error`."""
    text = decode(check_size(data, limits.size, source), source).removeprefix(BOM)
    return parse_text(text, source, limits)


def parse_text(text: str, source: Source, limits: JsonLimits) -> Any:
    """Parse a JSON document. Raises `source.error`, with the line and column of a syntax error."""
    if text.count("[") + text.count("{") > limits.brackets or text.count(",") > limits.commas:
        raise source.error("has too many values", _HINT)
    try:
        value = decoder(limits).decode(text)
        allows_surrogates = limits.allows_surrogates or not _MAYBE_SURROGATE.search(text)
        _check_values(value, allows_surrogates=allows_surrogates)
    except json.JSONDecodeError as problem:
        reason = f"is not JSON: {problem.msg.lower()}"
        raise source.error(reason, _HINT, problem.lineno, problem.colno) from None
    except _InvalidValueError as problem:
        raise source.error(f"contains {problem}", _HINT) from None
    except RecursionError:
        raise source.error("is nested too deeply", _HINT, _too_deep_line(text)) from None
    return value


@cache
def decoder(limits: JsonLimits) -> json.JSONDecoder:
    """Return a decoder that applies the limits on numbers."""

    def unfit(reason: str) -> UnfitNumber:
        if limits.marks_numbers:
            return UnfitNumber()
        raise _InvalidValueError(reason)

    def integer(text: str) -> int | UnfitNumber:
        return int(text) if len(text) <= limits.digits else unfit(f"a number of {len(text):,} digits")

    def number(text: str) -> float | UnfitNumber:
        value = float(text)
        if limits.allows_infinity or math.isfinite(value):
            return value
        return unfit(f"the number {text[:20]}, which is too large or not finite")

    return json.JSONDecoder(parse_int=integer, parse_float=number, parse_constant=number)


def _check_values(value: Any, *, allows_surrogates: bool) -> None:
    """Check the depth and reject surrogates. Raises RecursionError or _InvalidValueError."""
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for container in level:
            items = [*container, *container.values()] if isinstance(container, dict) else container
            below += [item for item in items if isinstance(item, dict | list)]
            for text in () if allows_surrogates else items:
                if isinstance(text, str) and (found := _SURROGATE.search(text)):
                    half = f"U+{ord(found[0]):04X}"
                    raise _InvalidValueError(f"a lone surrogate ({half}), which is half of a character")
        if not below:
            return
        level = below
    raise RecursionError


def _too_deep_line(text: str) -> int:
    """Return the line in which the nesting first exceeds MAX_DEPTH."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        if found[0][0] != '"':
            depth += 1 if found[1] else -1
        if depth > MAX_DEPTH:
            return text.count("\n", 0, found.start()) + 1
    return 1
