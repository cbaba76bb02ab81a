"""Reads the tokenizer in a folder of Hugging Face weights from tokenizer.json, without torch."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hermes_cli import chatml
from hermes_cli.chatml import IM_END, IM_START
from hermes_cli.engines import detokenizer
from hermes_cli.engines.base import PromptToken
from hermes_cli.errors import HermesError, ModelUnavailable
from hermes_cli.messages import Message
from hermes_cli.models.checkpoint.json_file import read_bytes, read_object

TOKENIZER, OLDER_TOKENIZER = "tokenizer.json", "tokenizer.model"
MAX_BYTES = 64 << 20
"""Maximum size of a tokenizer.json. The largest in use are about 30 MB."""
MAX_GAP = 1 << 16
"""Maximum number of unused ids in a vocabulary. A list with huge gaps would exhaust the memory."""
CONFIG_FILES = ("config.json", "generation_config.json")


class Vocabulary:
    """The contents of a tokenizer.json. `end_ids` are the end-of-text ids from the model's config files."""

    def __init__(self, tokenizer_json: str, end_ids: Iterable[int] = ()) -> None:
        self.name = hashlib.sha256(tokenizer_json.encode()).hexdigest()
        self.chatml = chatml.from_tokenizer_json(tokenizer_json, self.name)
        spec = json.loads(tokenizer_json)
        added = spec.get("added_tokens", [])
        self.entries = _entries(spec["model"]["vocab"], added)
        self.byte_level = "ByteLevel" in json.dumps([spec.get("pre_tokenizer"), spec.get("decoder")])
        # OpenHermes 2 lists <|im_start|> as an ordinary added token, but it also ends a turn.
        special = {int(t["id"]) for t in added if t.get("special") or t["content"] in (IM_START, IM_END)}
        self.stop_ids = frozenset(special | set(end_ids))

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt for `messages`."""
        segments = self.chatml.segments(messages)
        return detokenizer.prompt_tokens(segments, self.entries, byte_level=self.byte_level)

    @cached_property
    def breakers(self) -> frozenset[int]:
        """The ids at which DRY ends a sequence: those with a newline, colon, quotation mark or asterisk.

        Source: the defaults of text-generation-webui and llama.cpp.
        """
        marks = ("\n", ":", '"', "*")
        return self.ids_where(lambda text: any(mark in text for mark in marks))

    def ids_where(self, matches: Callable[[str], bool]) -> frozenset[int]:
        """Return the ids of the tokens whose text `matches` accepts."""
        data = (detokenizer.entry_bytes(entry, byte_level=self.byte_level) for entry in self.entries)
        return frozenset(i for i, token in enumerate(data) if matches(token.decode(errors="replace")))


def _entries(vocabulary: dict[str, int], added: list[dict[str, Any]]) -> list[str]:
    """Return the tokens in the order of their ids. Raises ValueError if too many ids are unused."""
    entries = {int(i): token for token, i in vocabulary.items()}
    entries |= {int(token["id"]): token["content"] for token in added}
    if max(entries) > len(entries) + MAX_GAP:
        raise ValueError(
            f"the vocabulary has {len(entries):,} tokens, but the largest id is {max(entries):,}"
        )
    return [entries.get(i, "") for i in range(max(entries) + 1)]


def has_tokenizer(folder: Path) -> bool:
    """Return whether `folder` contains a tokenizer that `read_vocabulary` can read."""
    return any((folder / name).is_file() for name in (TOKENIZER, OLDER_TOKENIZER))


def read_vocabulary(folder: Path) -> Vocabulary:
    """Return the vocabulary of a model folder. Raises ModelUnavailable if no tokenizer can be read."""
    path = folder / TOKENIZER
    try:
        text = read_bytes(path, MAX_BYTES).decode() if path.exists() else _convert_tokenizer(folder)
        return Vocabulary(text, _end_ids(folder))
    except HermesError:
        raise
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
        raise ModelUnavailable(
            f"the tokenizer in {folder} cannot be read: {error}",
            "download the model again, or choose another",
        ) from None


def _convert_tokenizer(folder: Path) -> str:
    """Convert a tokenizer.model with transformers, and return the contents of its tokenizer.json."""
    if not (folder / OLDER_TOKENIZER).is_file():
        raise ModelUnavailable(
            f"{folder} contains neither a tokenizer.json nor a tokenizer.model", "download the model again"
        )
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, use_fast=True
    )
    converted: str = tokenizer.backend_tokenizer.to_str()
    return converted


def _end_ids(folder: Path) -> set[int]:
    end_ids: set[int] = set()
    for name in CONFIG_FILES:
        with contextlib.suppress(ModelUnavailable):
            value = read_object(folder / name).get("eos_token_id")
            end_ids |= {i for i in (value if isinstance(value, list) else [value]) if isinstance(i, int)}
    return end_ids
