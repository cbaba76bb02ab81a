"""Reads the start of a tokenizer.json, which lists everything else before the vocabulary."""

import json
from pathlib import Path
from typing import Any, Final

from hermes_cli.models.checkpoint.json_file import parse_object, read_bytes, read_start

TOKENIZER: Final = "tokenizer.json"
MAX_TOKENIZER: Final = 64 << 20
HEAD: Final = 2 << 20
"""Bytes before the vocabulary, at most. A tokenizer.json has up to 30 MB."""


def value_at_start(path: Path, key: str) -> Any:
    """Return the value of a key near the start of a tokenizer.json, or None if it is not there.

    Raises ModelUnavailable if the file cannot be read.
    """
    text, name = read_start(path, HEAD).decode("utf-8", errors="replace"), f'"{key}":'
    position = text.find(name)  # in a string, the quotation marks would be escaped
    if position < 0:
        return None
    begin = len(text) - len(text[position + len(name) :].lstrip())
    try:
        return json.JSONDecoder().raw_decode(text, begin)[0]
    except (ValueError, RecursionError):  # the value continues beyond HEAD, or it is not JSON
        return None


def value(path: Path, key: str) -> Any:
    """Return the value of a key in a tokenizer.json. Raises ModelUnavailable if it cannot be read."""
    found = value_at_start(path, key)
    return parse_object(read_bytes(path, MAX_TOKENIZER), path.name).get(key) if found is None else found
