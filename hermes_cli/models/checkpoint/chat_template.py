"""Reads the chat template in a folder of Hugging Face weights."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.checkpoint.json_file import read_bytes, read_object
from hermes_cli.prompts.chat_template import ChatTemplate

TEMPLATE: Final = "chat_template.jinja"
SETTINGS: Final = "tokenizer_config.json"
MAX_TEMPLATE: Final = 1 << 20
SPECIAL_TOKENS: Final = ("bos_token", "eos_token", "unk_token", "pad_token")


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """Return the chat template of a folder, or None if it has none.

    A file of its own has precedence over tokenizer_config.json, as in transformers. Of several named
    templates, this is the one for plain conversations.
    """
    settings: Mapping[str, Any] = {}
    if (folder / SETTINGS).is_file():
        with contextlib.suppress(ModelUnavailable):  # the engine reports a damaged file
            settings = read_object(folder / SETTINGS)
    source = _named(settings.get("chat_template"))
    if (folder / TEMPLATE).is_file():
        source = read_bytes(folder / TEMPLATE, MAX_TEMPLATE).decode(errors="replace")
    if not source:
        return None
    texts = ((name, _text(settings.get(name))) for name in SPECIAL_TOKENS)
    special_tokens = {name: text for name, text in texts if text}
    return ChatTemplate(source, special_tokens, settings.get("add_bos_token") is True)


def _named(value: Any) -> str:
    """Return a template from a text, or from a list of named templates."""
    if isinstance(value, str):
        return value
    entries = [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
    named = {entry.get("name"): entry.get("template") for entry in entries}
    source = named.get("default") or next(iter(named.values()), "")
    return source if isinstance(source, str) else ""


def _text(token: Any) -> str:
    """Return the text of a special token, which can be an object."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""
