"""Reads the chat templates in a folder of Hugging Face weights."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.checkpoint.json_file import read_bytes, read_object
from hermes_cli.models.checkpoint.tokenizer_file import TOKENIZER, value_at_start
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.format_choice import ModelTemplates

TEMPLATE: Final = "chat_template.jinja"
SETTINGS: Final = "tokenizer_config.json"
MAX_TEMPLATE: Final = 1 << 20
SPECIAL_TOKENS: Final = ("bos_token", "eos_token", "unk_token", "pad_token")
BOS: Final = "bos_token"


def read_templates(folder: Path, chatml_problem: ModelUnavailable | None = None) -> ModelTemplates:
    """Return the chat templates of a folder. `chatml_problem` is that of its vocabulary.

    A file of its own has precedence over tokenizer_config.json, as in transformers. Of several named
    templates, the default is the one for plain conversations.
    """
    settings: Mapping[str, Any] = {}
    if (folder / SETTINGS).is_file():
        with contextlib.suppress(ModelUnavailable):  # the engine reports a damaged file
            settings = read_object(folder / SETTINGS)
    texts = ((name, _text(settings.get(name))) for name in SPECIAL_TOKENS)
    special_tokens = {name: text for name, text in texts if text}
    adds_bos = settings.get("add_bos_token")

    def template(source: str) -> ChatTemplate:
        return ChatTemplate(source, special_tokens, adds_bos is True)

    named = _named(settings.get("chat_template"))
    source = named.get("default") or next(iter(named.values()), "")
    named.pop("", None)
    if (folder / TEMPLATE).is_file():
        source = read_bytes(folder / TEMPLATE, MAX_TEMPLATE).decode(errors="replace")
    return ModelTemplates(
        chatml_problem,
        template(source) if source else None,
        {name: template(text) for name, text in named.items()},
        *_added_tokens(folder, special_tokens, adds_bos),
    )


def _named(value: Any) -> dict[str, str]:
    """Return the templates in a list by name. A single template has an empty name."""
    if isinstance(value, str):
        return {"": value} if value else {}
    entries = [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
    pairs = ((_text(entry.get("name")), _text(entry.get("template"))) for entry in entries)
    return {name: text for name, text in pairs if name and text}


def _added_tokens(
    folder: Path, special_tokens: Mapping[str, str], adds_bos: Any
) -> tuple[Mapping[str, str], bool]:
    """Return the special tokens, and whether the tokenizer adds BOS to a text that is no conversation.

    If tokenizer_config.json does not say so, the post-processor of tokenizer.json does. A folder without
    tokenizer.json has a SentencePiece model, to which transformers adds BOS.
    """
    if isinstance(adds_bos, bool) or not (folder / TOKENIZER).is_file():
        return special_tokens, adds_bos is not False
    with contextlib.suppress(ModelUnavailable):
        bos = _first_token(value_at_start(folder / TOKENIZER, "post_processor"))
        special_tokens = {BOS: bos, **special_tokens} if bos else special_tokens
        return special_tokens, bool(bos) and special_tokens.get(BOS) == bos
    return special_tokens, False


def _first_token(processor: Any) -> str:
    """Return the token that a post-processor adds before a text, or an empty string."""
    if not isinstance(processor, dict):
        return ""
    parts = processor.get("processors")
    if isinstance(parts, list):  # the last one that adds a token is applied last
        return next(filter(None, (_first_token(part) for part in reversed(parts))), "")
    single = processor.get("single")
    first = single[0] if isinstance(single, list) and single else None
    token = first.get("SpecialToken") if isinstance(first, dict) else None
    return _text(token.get("id")) if isinstance(token, dict) else ""


def _text(token: Any) -> str:
    """Return the text of a special token, which can be an object."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""
