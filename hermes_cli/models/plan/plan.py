"""The arguments and results of planning: Wishes, Candidate, Plan and the error DoesNotFit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hermes_cli.errors import ResourcesExhausted, UsageError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.units import gib

DEFAULT_CONTEXT: Final = 8192
"""Tokens. A longer context must be requested, because most conversations never use the memory."""
CONTEXT_STEP: Final = 256
MIN_CONTEXT: Final = 512
COMFORTABLE_CONTEXT: Final = 4096
"""Tokens. With less context in 16 bits, 4-bit weights with a longer context are better: a persona with its
lore and examples takes 1,000 to 3,000 tokens, and NF4 loses about a percent of a benchmark to 16 bits."""
SMALLEST_REQUEST: Final = 64
"""Tokens. Below it no prompt fits, and with one token llama.cpp aborts the process."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The user's requests. None means that the plan chooses, like the value `auto`."""

    context_size: int | None = None
    threads: int | None = None
    precision: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class CandidateSizes:
    """A way to run a model that was considered. Sizes are bytes; `fits` is whether the memory is enough.

    `reason` explains why it was chosen or not. `context_size` is the size that fits, or the required size if
    it does not fit.
    """

    precision: str
    device: str
    context_size: int
    weight_bytes: int
    kv_bytes: int
    headroom_bytes: int
    memory_available: int
    fits: bool
    reason: str = ""
    chosen: bool = False

    @property
    def memory_needed(self) -> int:
        """Weights, KV cache and headroom together."""
        return self.weight_bytes + self.kv_bytes + self.headroom_bytes

    @property
    def sums(self) -> str:
        """The parts of `memory_needed` as text."""
        return (
            f"{gib(self.weight_bytes)} weights + {gib(self.kv_bytes)} KV cache "
            f"+ {gib(self.headroom_bytes)} headroom"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The way to run a model. Sizes are bytes, `context_size` is tokens, `reason` is one sentence.

    `precision` and `device` are for the user. For the engine, `devices` are torch's names, `dtype` is the
    type of the unquantized weights and the KV cache (empty for a GGUF), `quantization` is applied while
    loading (`nf4`, `int8` or empty), and `layers` is the number of layers on each device. `smaller` is a hint
    for the case that memory runs out anyway. `passed_over` gives the memory of a better precision.
    """

    model: str
    engine: str
    path: Path
    precision: str
    device: str
    context_size: int
    threads: int
    weight_bytes: int
    kv_bytes: int
    headroom_bytes: int
    memory_available: int
    reason: str
    devices: tuple[str, ...] = ("cpu",)
    dtype: str = ""
    quantization: str = ""
    layers: tuple[int, ...] = ()
    smaller: str = ""
    passed_over: str = ""
    revision: str | None = None
    considered: tuple[CandidateSizes, ...] = ()

    @property
    def memory_needed(self) -> int:
        """Weights, KV cache and headroom together."""
        return self.weight_bytes + self.kv_bytes + self.headroom_bytes

    @property
    def summary(self) -> str:
        """The plan in one line."""
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.device == "cpu" else ""
        parts = (
            self.model,
            self.precision,
            f"{self.device}{threads}",
            f"needs {gib(self.memory_needed)} GiB, {gib(self.memory_available)} GiB free",
            f"context {self.context_size}",
            self.passed_over,
        )
        return " · ".join(part for part in parts if part)


class DoesNotFit(ResourcesExhausted):
    """No way to run the model fits the free memory. `considered` are the candidates."""

    def __init__(self, message: str, hint: str, considered: Sequence[CandidateSizes] = ()) -> None:
        super().__init__(message, hint)
        self.considered = tuple(considered)


def trained_context(model: ModelFacts) -> int:
    """Return the longest context of a model in tokens, or DEFAULT_CONTEXT if it is unknown."""
    return model.context_length or DEFAULT_CONTEXT


def check_context(model: ModelFacts, requested: int | None) -> None:
    """Raise UsageError if the requested context is too small, or longer than the model supports."""
    if requested is None:
        return
    if requested < SMALLEST_REQUEST:
        raise UsageError(
            f"a context of {requested:,} tokens holds no conversation", f"ask for {MIN_CONTEXT} or more"
        )
    trained = trained_context(model)
    if requested > trained:
        raise UsageError(
            f"{model.name} was trained for a context of {trained:,} tokens, not {requested:,}",
            f"ask for {trained} or less",
        )


def context_target(model: ModelFacts, requested: int | None) -> int:
    """Return the desired context size in tokens."""
    return min(trained_context(model), DEFAULT_CONTEXT) if requested is None else requested


def context_reason(model: ModelFacts, requested: int | None, context: int) -> str:
    """Return a clause with the reason for the context size."""
    trained = trained_context(model)
    if requested is not None:
        return f"the context of {requested:,} tokens was asked for"
    if context < min(trained, DEFAULT_CONTEXT):
        return f"a context of {context:,} of its {trained:,} tokens is what the free memory holds"
    if context < trained:
        return f"its context could be {trained:,} tokens long (--context asks for more)"
    return f"its context is all of the {trained:,} tokens it was trained for"


def checked_threads(cores: int, requested: int | None) -> int:
    """Return the number of threads. Raises UsageError if it is below 1."""
    threads = cores if requested is None else requested
    if threads < 1:
        raise UsageError(f"{threads} threads cannot run a model", "give 1 or more")
    return threads
