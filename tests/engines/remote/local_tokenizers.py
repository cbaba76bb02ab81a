"""Tokenizers of models on this machine, and the models of fake servers that have the same ones."""

import json
from collections.abc import Sequence
from pathlib import Path

from hermes_cli.engines.remote.local_vocabulary import LocalVocabulary, open_gguf
from hermes_cli.models.gguf.model import read_header
from tests.engines.remote.fakes.tokenizer_model import TokenizerModel
from tests.prompts.chat_templates import Family, tokenizer_json_of
from tests.vocab import starter_tokenizer_json


def write_tokenizer(folder: Path, family: Family, kind: str, ordinary: Sequence[str] = ()) -> Path:
    """Write a tokenizer and a chat template, without weights, into a folder, and return it.

    The tokens of `ordinary` are added, but not special.
    """
    folder.mkdir()
    (folder / "tokenizer.json").write_text(_with_added(family, kind, ordinary), encoding="utf-8")
    settings = {"bos_token": family.bos, "eos_token": family.eos}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(family.template, encoding="utf-8")
    return folder


def family_model(family: Family, kind: str, ordinary: Sequence[str] = ()) -> TokenizerModel:
    """Return the model of a server with the tokenizer of a family; see `write_tokenizer`."""
    return TokenizerModel(
        tokenizer_json=_with_added(family, kind, ordinary),
        template=family.template,
        special_tokens={"bos_token": family.bos, "eos_token": family.eos},
    )


def _with_added(family: Family, kind: str, ordinary: Sequence[str]) -> str:
    spec = json.loads(tokenizer_json_of(family, kind))
    first = 1 + max(token["id"] for token in spec["added_tokens"])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    spec["added_tokens"] += [{"id": i, "content": text, **flags} for i, text in enumerate(ordinary, first)]
    return json.dumps(spec)


def starter_model(starter_path: Path, template: str = "") -> TokenizerModel:
    """Return the starter as the model of a server, with another template if one is given."""
    header = read_header(starter_path)
    own = header.templates.default
    assert own is not None
    return TokenizerModel(
        "openhermes:latest",
        tokenizer_json=starter_tokenizer_json(starter_path),
        template=template or own.source,
    )


def open_starter(starter_path: Path) -> LocalVocabulary:
    """Return the tokenizer of the starter."""
    return open_gguf("starter", read_header(starter_path))
