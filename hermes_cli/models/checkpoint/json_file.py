"""Reads the JSON files of a checkpoint, with limits on size, depth and numbers."""

from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.gguf.model import FETCH_AGAIN
from hermes_cli.untrusted import json_parser, source
from hermes_cli.untrusted.json_parser import JsonLimits
from hermes_cli.untrusted.source import Source

MAX_BYTES: Final = 16 << 20
"""A config takes a few kilobytes, and the largest index and tokenizer files take a few megabytes."""


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of at most MAX_BYTES.

    Raises ModelUnavailable, with the file's name, if the file cannot be read or does not contain an object.
    """
    return parse_object(read_bytes(path, MAX_BYTES), path.name)


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the bytes of a file. Raises ModelUnavailable if it is not regular, or larger than `limit`."""
    return source.read_bytes(path, limit, _source(path.name))


def read_start(path: Path, size: int) -> bytes:
    """Return the first `size` bytes of a file. Raises ModelUnavailable if it is not regular."""
    return source.read_start(path, size, _source(path.name))


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Parse the bytes of the file `name` as a JSON object. Raises ModelUnavailable if that fails."""
    # Some configs contain Infinity, and vocabularies may contain lone surrogates.
    limits = JsonLimits(size=len(data), allows_infinity=True, allows_surrogates=True)
    value = json_parser.parse(data, _source(name), limits)
    if not isinstance(value, dict):
        raise _source(name).error("is not a JSON object")
    return value


def _source(name: str) -> Source:
    return Source(f"its {name}", ModelUnavailable, missing_hint=FETCH_AGAIN, hint=FETCH_AGAIN)


def whole_number(settings: dict[str, Any], *keys: str, limit: int) -> int:
    """Return the first value under `keys` that is an integer from 1 to `limit` - 1, or 0 if none is."""
    values = (settings.get(key) for key in keys)
    return next((value for value in values if type(value) is int and 0 < value < limit), 0)
