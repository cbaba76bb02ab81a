"""Checks whether a folder's tokenizer has both ChatML tokens, from the beginning of its files.

The answer is only good enough for a list of models. The engine checks the vocabulary again when it loads it.
"""

import json
from pathlib import Path
from typing import Any, Final

from hermes_cli.chatml import IM_END, IM_START
from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.checkpoint.json_file import parse_object, read_bytes, read_object

MAX_TOKENIZER: Final = 64 << 20
HEAD: Final = 2 << 20
"""The tokenizers library writes the added tokens before the vocabulary, so the first 2 MiB are enough."""
KEY: Final = '"added_tokens":'


def has_chatml(folder: Path) -> bool:
    """Return whether the tokenizer in `folder` adds both ChatML tokens. False if it cannot be read."""
    try:
        return {IM_START, IM_END} <= _added_tokens(folder)
    except ModelUnavailable:
        return False


def _added_tokens(folder: Path) -> set[str]:
    """Return the spellings of the added tokens, from the first file that lists them."""
    if (path := folder / "tokenizer.json").is_file():
        return _contents(_from_tokenizer(path))
    if (path := folder / "added_tokens.json").is_file():  # next to a tokenizer.model without tokenizer.json
        return set(read_object(path))
    decoder = read_object(folder / "tokenizer_config.json").get("added_tokens_decoder")
    return _contents(list(decoder.values()) if isinstance(decoder, dict) else None)


def _contents(tokens: Any) -> set[str]:
    entries = tokens if isinstance(tokens, list) else []
    found = (entry.get("content") for entry in entries if isinstance(entry, dict))
    return {content for content in found if isinstance(content, str)}


def _from_tokenizer(path: Path) -> Any:
    with path.open("rb") as file:
        text = file.read(HEAD).decode("utf-8", errors="replace")
    at = text.find(KEY)
    if at >= 0:
        begin = len(text) - len(text[at + len(KEY) :].lstrip())
        try:
            return json.JSONDecoder().raw_decode(text, begin)[0]
        except (ValueError, RecursionError):  # the list is longer than the head, or it is not JSON
            pass
    return parse_object(read_bytes(path, MAX_TOKENIZER), path.name).get("added_tokens")
