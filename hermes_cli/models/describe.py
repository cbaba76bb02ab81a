"""Describes one model as rows of text for the user."""

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.catalogue import STARTER, entry_of_repo
from hermes_cli.models.checkpoint import Checkpoint
from hermes_cli.models.download import size_text
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.models.local import InstalledModel, ModelSource
from hermes_cli.models.units import KV_ELEMENT_BYTES


def rows(model: InstalledModel) -> list[tuple[str, str]]:
    """Return pairs of a label and a value. For a broken model, the row `broken` gives the reason."""
    all_rows = [
        ("name", model.name),
        ("file", str(model.path)),
        ("size", f"{size_text(model.size)} ({model.size:,} bytes)"),
        ("format", f"{model.format.value} {model.precision}".rstrip()),
        ("broken", model.broken or ""),
        ("from", model.repo or model.source.value),
        ("licence", _licence(model)),
    ]
    if model.header is not None:
        all_rows += _header_rows(model.header)
    if model.checkpoint is not None:
        all_rows += _checkpoint_rows(model.checkpoint)
    return [row for row in all_rows if row[1]]


def _licence(model: InstalledModel) -> str:
    """Return the licence from the catalogue, or else from the file's metadata, or an empty string."""
    entry = STARTER if model.source is ModelSource.STARTER else entry_of_repo(model.repo)
    if entry is not None:
        return entry.licence
    return model.header.licence if model.header else ""


def _header_rows(header: GgufHeader) -> list[tuple[str, str]]:
    control = header.control_tokens
    return [
        ("title", header.name),
        ("architecture", header.architecture),
        ("parameters", f"{header.parameter_count:,}"),
        ("context", f"{header.context_length:,} tokens"),
        ("KV cache", f"{header.kv_bytes_per_token / 1024:g} KiB per token"),
        ("layers", f"{header.block_count}"),
        (
            "vocabulary",
            f"{len(header.tokens):,} tokens, {header.tokenizer_model} {header.tokenizer_pre}".rstrip(),
        ),
        *_format_rows(header),
        ("control tokens", " ".join(f"{text}={i}" for text, i in list(control.items())[:8])),
    ]


def _checkpoint_rows(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    config, weights = checkpoint.config, checkpoint.weights
    return [
        ("revision", checkpoint.revision or ""),
        ("architecture", config.architecture),
        ("parameters", f"{weights.parameters:,} ({weights.linear_parameters:,} in linear layers)"),
        ("context", f"{config.context_length:,} tokens" if config.context_length else ""),
        ("sliding window", f"{config.sliding_window:,} tokens" if config.sliding_window else ""),
        ("KV cache", f"{config.kv_elements * KV_ELEMENT_BYTES / 1024:g} KiB per token in 16 bits"),
        ("layers", f"{config.layers}"),
        ("vocabulary", f"{config.vocab_size:,} tokens" if config.vocab_size else ""),
        ("weights", f"{len(weights.files)} file{'s' if len(weights.files) != 1 else ''}"),
        ("pickled", "yes: it has no safetensors" if weights.is_pickled else ""),
        *_format_rows(checkpoint),
    ]


def _format_rows(model: GgufHeader | Checkpoint) -> list[tuple[str, str]]:
    """Return the prompt format, or the reason why there is none, and the names of the chat templates."""
    try:
        templates = model.templates
        text = str(templates.choose())
    except ModelUnavailable as problem:
        return [("prompt format", f"none: {problem.message}; {problem.hint}")]
    return [("prompt format", text), ("chat templates", ", ".join(templates.named))]
