"""Reads untrusted JSON files into objects of limited size and depth.

The checks cover deep nesting, very long numbers, invalid UTF-8, and a pipe in place of a file.
"""

import json
import stat
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.gguf.model import FETCH_AGAIN

MAX_DEPTH: Final = 100
"""A fixed limit, because the parser's limit varies by Python version: 1,000 in 3.11, over 30,000 in 3.14."""
MAX_BYTES: Final = 16 << 20
"""A config has a few kilobytes; the largest index and tokenizer settings in use have a few megabytes."""


def read_object(path: Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Return the object in a JSON file of at most `limit` bytes.

    Raises ModelUnavailable, with the file's name, if the file holds no object or cannot be read.
    """
    return parse_object(read_bytes(path, limit), path.name)


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file. Raises ModelUnavailable if it is not one, or over `limit` bytes."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            raise ModelUnavailable(f"its {path.name} is not an ordinary file", FETCH_AGAIN)
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as problem:
        raise ModelUnavailable(f"its {path.name} cannot be read: {problem.strerror}", FETCH_AGAIN) from None
    if len(data) > limit:
        raise ModelUnavailable(
            f"its {path.name} is larger than {limit >> 20} MiB", "no model needs that; choose another"
        )
    return data


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Parse the bytes of the file `name` as a JSON object. Raises ModelUnavailable."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError:  # not JSON, not UTF-8, or a number of thousands of digits
        raise ModelUnavailable(f"its {name} cannot be read: it is no JSON", FETCH_AGAIN) from None
    if not isinstance(found, dict):
        raise ModelUnavailable(f"its {name} cannot be read: it holds no object", FETCH_AGAIN)
    if _is_too_deep(found):
        raise _too_deep(name)
    return found


def _is_too_deep(value: Any) -> bool:
    """Return whether objects and lists are nested deeper than MAX_DEPTH, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
            elif isinstance(one, list):
                below += one
        if not below:
            return False
        level = below
    return True


def _too_deep(name: str) -> ModelUnavailable:
    return ModelUnavailable(f"its {name} cannot be read: it is nested too deeply", FETCH_AGAIN)


def whole_number(found: dict[str, Any], *keys: str, limit: int) -> int:
    """Return the value of the first of `keys` that is an integer from 1 to below `limit`, or 0."""
    for key in keys:
        value = found.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < limit:
            return value
    return 0
