"""Reads JSON in conversation files. Values are checked on access. Errors contain the path and the line."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from hermes_cli.errors import FormatError, HermesError, UsageError
from hermes_cli.untrusted import json_parser
from hermes_cli.untrusted.json_parser import JsonLimits
from hermes_cli.untrusted.source import Source
from hermes_cli.untrusted.value import Policy, Value, ValuePath

LIMITS: Final = JsonLimits(size=64 << 20, digits=30, marks_numbers=True, allows_surrogates=True)
"""Larger than any export, but small enough for memory. Numbers and surrogates are checked on access."""
_DECODER: Final = json_parser.decoder(LIMITS)
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_LINES_HINT: Final = "such a file has one JSON object per line, as 'jq -c .' writes it"


@dataclass(frozen=True)
class ConversationText(Source, Policy):
    """Text of a conversation file that begins on `line`. Callers add the file name to errors."""

    name: str = ""
    error_type: Callable[[str, str], HermesError] = UsageError
    text: str = ""
    line: int = 1
    table_name: ClassVar[str] = "an object"

    def error(self, reason: str, hint: str = "", line: int = 1, column: int = 0) -> FormatError:
        """Return a FormatError with the line number in the file."""
        location = f", at column {column:,}" if column else ""
        return FormatError(f"{reason}{location}", self.line + line - 1, hint=hint)

    def reject(self, path: ValuePath, reason: str, hint: str = "") -> None:
        """Raise a FormatError about the value at `path`, with its line number."""
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        line = self.text.count("\n", 0, _position(self.text, path)) + 1
        raise self.error(f"{name.removeprefix('.')} {reason}".strip(), hint, line)

    def clean(self, path: ValuePath, text: str) -> str:
        """Return `text`. Raises FormatError for a lone surrogate, which cannot be encoded in UTF-8."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X}"
            self.reject(path, f"contains a lone surrogate ({half}), which is half of a character")
        return text


def parse(text: str, line: int = 1) -> Value:
    """Parse JSON text that begins on `line` of a file. Raises FormatError if it is invalid."""
    source = ConversationText(text=text, line=line)
    return Value(json_parser.parse_text(text, source, LIMITS), source)


def parse_lines(text: str) -> Iterator[Value]:
    """Yield the object on each line that is not blank. Raises FormatError for anything else on a line."""
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would split at U+2028, too
        if line.strip(" \t\r"):
            try:
                value = parse(line, number)
            except FormatError as error:
                raise FormatError(error.reason, number, hint=_LINES_HINT) from None
            if not isinstance(value.value, dict):
                raise FormatError("is not a JSON object", number, hint=_LINES_HINT)
            yield value
    if not text.strip():
        raise FormatError("has no conversation", 1)


def first_keys(text: str) -> set[str]:
    """Return the keys of the object at the beginning of `text`, up to the first syntax error."""
    keys = set[str]()
    start = _skip(text, 0)
    if text[start : start + 1] == "{":
        with suppress(ValueError, RecursionError):  # the reader of the format reports the error
            keys.update(str(key) for key, _ in _members(text, start))
    return keys


def dump(value: Any) -> str:
    """Return `value` as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _position(text: str, path: tuple[str | int, ...]) -> int:
    """Return the offset of the value at `path` in a JSON text."""
    at = _skip(text, 0)
    for step in path:
        offsets = [offset for key, offset in _members(text, at) if key == step]
        at = offsets[-1] if offsets else at  # if a key occurs twice, its last value is used
    return at


def _members(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """Yield the key or index, and the offset, of each value in the object or list that begins at `at`.

    Raises ValueError at the first syntax error, after yielding the values before it.
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
