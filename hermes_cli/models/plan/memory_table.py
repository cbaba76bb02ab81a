"""A plan as a table of memory sizes for `hermes models plan`, and as an object for scripts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hermes_cli.errors import HermesError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.plan.plan import CandidateSizes, DoesNotFit, Plan
from hermes_cli.models.units import gib

HEAD = ("", "precision", "device", "context", "weights", "KV cache", "headroom", "needs", "free", "")


def table(considered: Sequence[CandidateSizes]) -> list[tuple[str, ...]]:
    """Return a header and a row for each candidate, with sizes in GiB. An arrow marks the chosen one."""
    return [HEAD, *(_row(candidate) for candidate in considered)]


def _row(candidate: CandidateSizes) -> tuple[str, ...]:
    return (
        "→" if candidate.chosen else "",
        candidate.precision,
        candidate.device,
        f"{candidate.context_size:,}",
        gib(candidate.weight_bytes),
        gib(candidate.kv_bytes),
        gib(candidate.headroom_bytes),
        gib(candidate.memory_needed),
        gib(candidate.memory_available),
        candidate.reason,
    )


def considered_in(result: Plan | HermesError) -> tuple[CandidateSizes, ...]:
    """Return the candidates of a plan, or of the error if there is no plan."""
    return result.considered if isinstance(result, Plan | DoesNotFit) else ()


def as_object(model: ModelFacts, result: Plan | HermesError, *, fetched: bool) -> dict[str, Any]:
    """Return the plan as an object for scripts. If there is none, `plan` is None and `error` is the reason.

    Sizes are bytes.
    """
    found: dict[str, Any] = {"model": model.name, "fetched": fetched, "plan": None, "error": None}
    found["considered"] = [
        asdict(candidate) | {"memory_needed": candidate.memory_needed} for candidate in considered_in(result)
    ]
    if isinstance(result, Plan):
        plan = asdict(result) | {"memory_needed": result.memory_needed, "path": str(result.path)}
        del plan["considered"]
        return found | {"plan": plan, "summary": result.summary, "reason": result.reason}
    return found | {"error": result.message, "hint": result.hint}
