"""Reads a folder of Hugging Face weights into a Checkpoint."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.catalogue import DTYPES, WeightFormat
from hermes_cli.models.checkpoint import config as configs
from hermes_cli.models.checkpoint import tokenizer_file
from hermes_cli.models.checkpoint.chat_template import read_templates
from hermes_cli.models.checkpoint.config import Config
from hermes_cli.models.checkpoint.json_file import read_bytes, read_object
from hermes_cli.models.checkpoint.tokenizer_file import MAX_TOKENIZER, TOKENIZER
from hermes_cli.models.checkpoint.weights import Weights, read_weights
from hermes_cli.models.links import reject_links
from hermes_cli.prompts.chatml import IM_END, IM_START, missing_tokens
from hermes_cli.prompts.format_choice import ModelTemplates

CONFIG: Final = "config.json"
OTHER_SETTINGS: Final = (
    "tokenizer_config.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)
ADAPTER: Final = "adapter_config.json"
# hermes never runs a model's code: `trust_remote_code` is always off. These keys are also rejected, because
# some releases of transformers followed them regardless (CVE-2026-4372), and because transformers downloads
# and runs a kernel from the hub if an attention implementation is named owner/name.
CODE_KEYS = ("auto_map", "custom_pipelines")
IMPLEMENTATION_KEYS = ("attn_implementation", "experts_implementation")
BUILT_IN_IMPLEMENTATIONS = ("eager", "sdpa", "flash_attention_2", "flex_attention")
"""The attention and expert implementations that are part of transformers."""
OTHER_WEIGHTS_KEY = "transformers_weights"
CODE_ADVICE = "choose a model that transformers supports without custom code, such as openhermes-2"
_COMMIT = re.compile(r"[0-9a-f]{40}")
OLDER_TOKENIZER: Final = "tokenizer.model"


@dataclass(frozen=True)
class Checkpoint:
    """A complete folder of Hugging Face weights that does not request custom code."""

    path: Path
    config: Config
    weights: Weights = field(repr=False)

    @property
    def format(self) -> WeightFormat:
        """The storage format of the weights."""
        if self.config.quantization is not None:
            return self.config.quantization.format
        return WeightFormat.PICKLE if self.weights.is_pickled else WeightFormat.SAFETENSORS

    @property
    def dtype(self) -> str:
        """The type of the unquantized weights, by its name in torch, or an empty string if it is unknown."""
        return self.config.dtype or self.weights.dtype

    @property
    def precision(self) -> str:
        """The precision to display: `bf16`, `4-bit GPTQ`."""
        quantization = self.config.quantization
        return quantization.text if quantization else DTYPES.get(self.dtype, "")

    @property
    def bits(self) -> int:
        """The number of bits per weight."""
        quantization = self.config.quantization
        return quantization.bits if quantization else 32 if self.dtype == "float32" else 16

    @property
    def revision(self) -> str | None:
        """The commit if the folder is a snapshot in the hub's cache, else None."""
        folder = self.path.absolute()
        is_snapshot = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
        return folder.name if is_snapshot and _COMMIT.fullmatch(folder.name) else None

    @cached_property
    def templates(self) -> ModelTemplates:
        """The chat templates of the folder. Raises ModelUnavailable if chat_template.jinja is too large."""
        return read_templates(self.path, self.chatml_problem)

    @cached_property
    def chatml_problem(self) -> ModelUnavailable | None:
        """The error if the folder has no tokenizer, or its added tokens lack a ChatML token, else None.

        This reads only the list of added tokens; the engine checks the whole tokenizer.
        """
        return _chatml_problem(self.path)


def read(path: Path) -> Checkpoint:
    """Read the folder `path` in milliseconds, without loading the weights.

    Raises ModelUnavailable if the folder is broken, is not a language model, requests custom code, or
    contains a symbolic link to a file elsewhere.
    """
    reject_links(path)
    settings = read_object(path / CONFIG)
    others = {name: read_object(path / name) for name in OTHER_SETTINGS if (path / name).exists()}
    _reject_code({CONFIG: settings, **others})
    if (path / ADAPTER).exists():
        raise ModelUnavailable(
            f"it contains an adapter ({ADAPTER}) for another model, which hermes does not support",
            "merge it into its base model, and use the merged model",
        )
    config = configs.parse(settings)
    return Checkpoint(path, config, read_weights(path, config))


def templates_of(folder: Path) -> ModelTemplates:
    """Return the chat templates of a folder, which may lack the weights; see Checkpoint.templates."""
    return read_templates(folder, _chatml_problem(folder))


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder contains a tokenizer in a format that hermes reads."""
    return any((folder / name).is_file() for name in (TOKENIZER, OLDER_TOKENIZER))


def no_tokenizer(folder: Path) -> ModelUnavailable:
    """Return the error for a folder without a tokenizer."""
    return ModelUnavailable(
        f"{folder} contains neither a {TOKENIZER} nor a {OLDER_TOKENIZER}",
        "add the tokenizer that belongs to the weights, or download the model again",
    )


def _reject_code(files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ModelUnavailable if a settings file requests custom code or other weights, at any depth."""
    for name, settings in files.items():
        for key, value in _entries(settings):
            if key in CODE_KEYS and value:
                raise _code_error(key, name, "requests custom code, which hermes never runs")
            if any(part in key.lower() for part in IMPLEMENTATION_KEYS) and not _is_built_in(value):
                raise _code_error(key, name, "requests a downloaded implementation, which hermes never runs")
            if key == OTHER_WEIGHTS_KEY and value:
                raise _code_error(key, name, "names other weight files, which hermes never loads")


def _entries(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every key and value of an object and of the objects nested in it, without recursion."""
    pending: list[Any] = [settings]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            yield from value.items()
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _is_built_in(value: Any) -> bool:
    """Return whether an implementation, or each value of a mapping of them, is part of transformers."""
    parts = value.values() if isinstance(value, Mapping) else (value,)
    return all(part is None or part in BUILT_IN_IMPLEMENTATIONS for part in parts)


def _code_error(key: str, name: str, problem: str) -> ModelUnavailable:
    return ModelUnavailable(f"the key {key[:60]!r} of its {name} {problem}", CODE_ADVICE)


def _chatml_problem(folder: Path) -> ModelUnavailable | None:
    try:
        return missing_tokens(_added_tokens(folder))
    except ModelUnavailable as problem:
        return problem


def _added_tokens(folder: Path) -> set[str]:
    """Return the added tokens of the folder's tokenizer. Raises ModelUnavailable if it has none."""
    if (path := folder / TOKENIZER).exists():
        return _contents(tokenizer_file.value(path, "added_tokens"))
    if not has_tokenizer(folder):
        raise no_tokenizer(folder)
    pieces = read_bytes(folder / OLDER_TOKENIZER, MAX_TOKENIZER)  # a list of tokens in protobuf's format
    tokens = {token for token in (IM_START, IM_END) if token.encode() in pieces}
    if (path := folder / "added_tokens.json").is_file():
        tokens |= set(read_object(path))
    if (path := folder / "tokenizer_config.json").is_file():
        decoder = read_object(path).get("added_tokens_decoder")
        tokens |= _contents(list(decoder.values()) if isinstance(decoder, dict) else None)
    return tokens


def _contents(tokens: Any) -> set[str]:
    entries = tokens if isinstance(tokens, list) else []
    found = (entry.get("content") for entry in entries if isinstance(entry, dict))
    return {content for content in found if isinstance(content, str)}
