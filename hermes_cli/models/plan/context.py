"""Computes the context sizes of a plan."""

from dataclasses import dataclass
from typing import Final

from hermes_cli.errors import UsageError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.options import MIN_CONTEXT as SMALLEST_REQUEST

DEFAULT_CONTEXT: Final = 8192
"""Tokens. A longer context must be requested, because most conversations do not need one."""
CONTEXT_STEP: Final = 256
MIN_CONTEXT: Final = 512
COMFORTABLE_CONTEXT: Final = 4096
"""Tokens. If 16-bit weights leave room for less, 4-bit weights with a longer context are better: a character
card with its lorebook takes 1,000 to 3,000 tokens, and NF4 scores about a percent lower in benchmarks."""


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
