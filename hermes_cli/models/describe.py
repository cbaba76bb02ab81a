"""Describes one model as rows of text for the user."""

from pathlib import Path

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models import selection
from hermes_cli.models.checkpoint import Checkpoint
from hermes_cli.models.download import size_text
from hermes_cli.models.facts import KV_ELEMENT_BYTES, ModelFacts, facts_of_variant
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.models.local import InstalledModel
from hermes_cli.models.reference import parse


def installed_model(name: str, models_dir: Path) -> InstalledModel:
    """Return the installed model called `name`. Raises ModelUnavailable if it is not installed."""
    ref = parse(name, models_dir=models_dir)
    model = selection.find(ref, models_dir)
    if model is None:
        raise ModelUnavailable(
            f"{ref.name} is not on this machine", f"'hermes models pull {ref.name}' fetches it"
        )
    return model


def plan_facts(name: str, models_dir: Path) -> tuple[ModelFacts, bool]:
    """Return the facts of a model that a plan needs, and whether the model is on this machine.

    The facts of a model that is not downloaded come from the catalogue. Raises ModelUnavailable if the model
    is broken, or if it is neither installed nor in the catalogue.
    """
    ref = parse(name, models_dir=models_dir)
    model = selection.find(ref, models_dir)
    if model is not None:
        return model.facts, True
    if ref.entry is None or ref.variant is None:
        raise ModelUnavailable(
            f"{ref.name} is not on this machine", f"'hermes models pull {ref.name}' fetches it"
        )
    return facts_of_variant(ref.entry, ref.variant), False


def facts(model: InstalledModel) -> list[tuple[str, str]]:
    """Return rows of a label and a value. For a broken model, the row `broken` gives the reason."""
    rows = [
        ("name", model.name),
        ("file", str(model.path)),
        ("size", f"{size_text(model.size)} ({model.size:,} bytes)"),
        ("format", f"{model.format.value} {model.precision}".rstrip()),
        ("broken", model.broken or ""),
        ("from", model.repo or model.source.value),
    ]
    if model.header is not None:
        rows += _header_rows(model.header)
    if model.checkpoint is not None:
        rows += _checkpoint_rows(model.checkpoint)
    return [row for row in rows if row[1]]


def _header_rows(header: GgufHeader) -> list[tuple[str, str]]:
    control = header.control_tokens
    return [
        ("calls itself", header.name),
        ("architecture", header.architecture),
        ("parameters", f"{header.parameter_count:,}"),
        ("context", f"{header.context_length:,} tokens"),
        ("KV cache", f"{header.kv_bytes_per_token / 1024:g} KiB a token"),
        ("layers", f"{header.block_count}"),
        (
            "vocabulary",
            f"{len(header.tokens):,} tokens, {header.tokenizer_model} {header.tokenizer_pre}".rstrip(),
        ),
        ("ChatML", _chatml(known=header.is_chatml)),
        ("control tokens", " ".join(f"{text}={i}" for text, i in list(control.items())[:8])),
    ]


def _checkpoint_rows(found: Checkpoint) -> list[tuple[str, str]]:
    config, weights = found.config, found.weights
    return [
        ("revision", found.revision or ""),
        ("architecture", config.architecture),
        ("parameters", f"{weights.parameters:,}, of them {weights.linear_parameters:,} in linear layers"),
        ("context", f"{config.context_length:,} tokens" if config.context_length else ""),
        ("sliding window", f"{config.sliding_window:,} tokens" if config.sliding_window else ""),
        ("KV cache", f"{config.kv_elements * KV_ELEMENT_BYTES / 1024:g} KiB a token in 16 bits"),
        ("layers", f"{config.layers}"),
        ("vocabulary", f"{config.vocab_size:,} tokens" if config.vocab_size else ""),
        ("weights", f"{len(weights.files)} file{'s' if len(weights.files) != 1 else ''}"),
        ("pickled", "yes: it has no safetensors" if weights.is_pickled else ""),
        ("ChatML", _chatml(known=found.is_chatml)),
    ]


def _chatml(*, known: bool) -> str:
    return "yes" if known else "no: it has no <|im_start|> and <|im_end|>"
