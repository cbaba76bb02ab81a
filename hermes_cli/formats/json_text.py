"""Reads JSON from other programs. Values are checked on access; an error names the path and the line."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from hermes_cli.errors import FormatError

MAX_DIGITS: Final = 30
MAX_DEPTH: Final = 100
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|[\]}]', re.DOTALL)
_KINDS: Final[dict[type, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_LINES_HINT: Final = "such a file has one JSON object a line; 'jq -c .' makes it so"


class _Unfit:
    """Replaces a number that is too long or not finite. It causes an error only if the value is read."""


@dataclass(frozen=True, slots=True)
class Json:
    """A value in a JSON text. `path` is its location; `line` is the line on which the text begins."""

    value: Any
    text: str
    line: int = 1
    path: tuple[str | int, ...] = ()

    def fail(self, reason: str) -> FormatError:
        """Return an error with the path and line of this value and the reason."""
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        line = self.line + self.text.count("\n", 0, _position(self.text, self.path))
        return FormatError(f"{name.removeprefix('.')} {reason}".strip(), line)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __getitem__(self, key: str) -> "Json":
        if not isinstance(self.value, dict):
            raise self._is_not("an object")
        if key not in self.value:
            raise self.fail(f"has no '{key}'")
        return Json(self.value[key], self.text, self.line, (*self.path, key))

    def get(self, key: str, default: Any) -> "Json":
        """Return a value of an object, or a default if the key is missing or its value is null."""
        if key in self and self.value[key] is not None:
            return self[key]
        return Json(default, self.text, self.line, self.path)

    def items(self) -> list["Json"]:
        """Return the values of a list."""
        if not isinstance(self.value, list):
            raise self._is_not("a list")
        return [Json(one, self.text, self.line, (*self.path, n)) for n, one in enumerate(self.value)]

    def string(self) -> str:
        """Return a text. Raises FormatError for a lone surrogate, which cannot be stored as UTF-8."""
        if not isinstance(self.value, str):
            raise self._is_not("a text")
        try:
            self.value.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(self.value[error.start]):04X}"
            raise self.fail(f"holds a lone surrogate ({half}), which is half of a character") from None
        return self.value

    def one_of(self, words: Any) -> Any:
        """Return the member of the StrEnum `words` whose value is this text."""
        word = self.string()
        if word not in list(words):
            raise self.fail(f"is '{word[:40]}', which is none of {', '.join(words)}")
        return words(word)

    def flag(self) -> bool:
        """Return a boolean."""
        if not isinstance(self.value, bool):
            raise self._is_not("true or false")
        return self.value

    def integer(self, low: int = 0, high: int = 2**63 - 1) -> int:
        """Return a whole number in a closed range."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self._is_not("a whole number")
        if not low <= self.value <= high:
            raise self.fail(f"is out of the range {low:,} to {high:,}")
        return self.value

    def number(self, high: float) -> float:
        """Return a number from 0 to `high`."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            raise self._is_not("a number")
        if not 0 <= self.value <= high:
            raise self.fail(f"is out of the range 0 to {high:,.0f}")
        return float(self.value)

    def _is_not(self, wanted: str) -> FormatError:
        kind = _KINDS.get(type(self.value), "a number that is too large or none")
        return self.fail(f"is {kind}, not {wanted}")


def _integer(text: str) -> int | _Unfit:
    return int(text) if len(text) <= MAX_DIGITS else _Unfit()


def _number(text: str) -> float | _Unfit:
    value = float(text)
    return value if math.isfinite(value) else _Unfit()


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=lambda _: _Unfit())


def parse(text: str, line: int = 1) -> Json:
    """Return the value of a JSON text that begins on `line`. Raises FormatError."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = f"is not JSON: {error.msg.lower()}, at column {error.colno:,}"
        raise FormatError(what, line + error.lineno - 1) from None
    except RecursionError:
        raise FormatError("is nested too deeply", line + text.count("\n", 0, _too_deep(text))) from None
    return Json(value, text, line)


def parse_lines(text: str) -> Iterator[Json]:
    """Yield the object on each line that is not blank. Raises FormatError if a line holds no object."""
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would split at U+2028, too
        if line.strip(" \t\r"):
            try:
                found = parse(line, number)
            except FormatError as error:
                raise FormatError(error.reason, number, hint=_LINES_HINT) from None
            if not isinstance(found.value, dict):
                raise FormatError("is no JSON object", number, hint=_LINES_HINT)
            yield found
    if not text.strip():
        raise FormatError("holds no conversation", 1)


def first_keys(text: str) -> set[str]:
    """Return the keys of the object at the beginning of a text, up to the first syntax error."""
    keys = set[str]()
    start = _skip(text, 0)
    if text[start : start + 1] == "{":
        with suppress(ValueError, RecursionError):  # the reader of the format reports the error
            keys.update(str(key) for key, _ in _members(text, start))
    return keys


def dump(value: Any) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _position(text: str, path: tuple[str | int, ...]) -> int:
    """Return the offset in a JSON text of the value at `path`."""
    at = _skip(text, 0)
    for step in path:
        places = [place for key, place in _members(text, at) if key == step]
        at = places[-1] if places else at  # of two equal keys the last one counts
    return at


def _members(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """Yield the key or index, and the offset, of each value in the object or list that begins at `at`.

    Raises ValueError at the first syntax error, after the valid values before it.
    """
    is_object, index = text[at] == "{", 0
    at = _skip(text, at + 1)
    while text[at : at + 1] not in {"}", "]", ""}:
        key: str | int = index
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        yield key, at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        index += 1


def _too_deep(text: str) -> int:
    depth = 0
    for found in _BRACKETS.finditer(text):
        if found[0][0] != '"':
            depth += 1 if found[1] else -1
        if depth > MAX_DEPTH:
            return found.start()
    return 0
