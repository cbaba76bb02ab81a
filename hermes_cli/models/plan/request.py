"""The user's requirements for a plan, and the context sizes that result from them."""

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from hermes_cli import options
from hermes_cli.errors import UsageError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.prompts.format_choice import ANY_MODEL, TemplateRequest

AUTO: Final = "auto"
"""The value of --precision and --device for automatic selection."""
DEFAULT_CONTEXT: Final = 8192
"""Tokens. A longer context must be requested, because most conversations do not need one."""
CONTEXT_STEP: Final = 256
MIN_CONTEXT: Final = 512
COMFORTABLE_CONTEXT: Final = 4096
"""Tokens. If 16-bit weights leave room for less, 4-bit weights with a longer context are better: a character
card with its lorebook takes 1,000 to 3,000 tokens, and NF4 scores about a percent lower in benchmarks."""
SMALLEST_REQUEST: Final = options.MIN_CONTEXT


ALL_LAYERS: Final = "all"
KV_TYPES: Final = ("f16", "q8_0")


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The user's requirements. None, like the value `auto`, means automatic selection.

    `gpu_layers` is a number or `all`, and `kv` is the type of K and V; both are only for a GGUF. If the user
    did not request `device`, `device_reason` is a clause that explains why it was set. `context_source` is
    the persona or the setting that requests the context size; it is empty for a flag. `chat_template` is the
    format of the prompts. `insecure` permits to send the key of a server over plain HTTP.
    """

    context_size: int | None = None
    threads: int | None = None
    precision: str | None = None
    device: str | None = None
    gpu_layers: int | Literal["all"] | None = None
    kv: str | None = None
    device_reason: str = ""
    context_source: str = ""
    chat_template: TemplateRequest | None = None
    insecure: bool = False

    @property
    def for_any_model(self) -> "PlanRequest":
        """The request for comparing models: a chat template that some of them lack excludes none."""
        return self if self.chat_template is None else replace(self, chat_template=ANY_MODEL)


def parse_gpu_layers(text: str | None) -> int | Literal["all"] | None:
    """Parse a value of --gpu-layers. Raises UsageError if it is neither a number nor `all`."""
    if text is None or text.lower() == ALL_LAYERS:
        return None if text is None else ALL_LAYERS
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise UsageError(f"--gpu-layers takes a number of layers or all, not '{text[:40]}'")
    return int(text)


def check_kv(text: str | None) -> str | None:
    """Return a value of --kv unchanged. Raises UsageError if it is unknown."""
    if text is not None and text not in KV_TYPES:
        raise UsageError(f"--kv takes {' or '.join(KV_TYPES)}, not '{text[:40]}'")
    return text


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """Context sizes in tokens.

    `target` is the desired size. If the context would be shorter than `comfortable`, a lower precision is
    better. If it would be shorter than `least`, the model does not fit.
    """

    target: int
    comfortable: int
    least: int


def context_limits(model: ModelFacts, requested: int | None) -> ContextLimits:
    """Return the context sizes for a plan.

    Raises UsageError if the requested size is too small, or larger than the model supports.
    """
    trained = trained_context(model)
    if requested is None:
        target = min(trained, DEFAULT_CONTEXT)
        return ContextLimits(target, min(target, COMFORTABLE_CONTEXT), min(target, MIN_CONTEXT))
    if requested < SMALLEST_REQUEST:
        raise UsageError(
            f"a context of {requested:,} tokens is too small for a conversation",
            f"use --context {SMALLEST_REQUEST} or more",
        )
    if requested > trained:
        raise UsageError(
            f"{model.name} was trained for a context of {trained:,} tokens, not {requested:,}",
            f"use --context {trained} or less",
        )
    return ContextLimits(requested, requested, requested)


def trained_context(model: ModelFacts) -> int:
    """Return a model's maximum context in tokens, or DEFAULT_CONTEXT if it is unknown."""
    return model.context_length or DEFAULT_CONTEXT


def thread_count(cores: int, requested: int | None) -> int:
    """Return the requested number of threads, or one per core. Raises UsageError if it is below 1."""
    threads = cores if requested is None else requested
    if threads < 1:
        raise UsageError(f"a model cannot run with {threads} threads", "use 1 thread or more")
    return threads
