"""A plan as a table of memory sizes for `hermes models plan`, and as an object for scripts."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from hermes_cli.errors import HermesError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.plan.memory import Candidate
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.units import gib

HEAD: Final = ("", "precision", "device", "context", "weights", "KV cache", "headroom", "needs", "free", "")
SIZES: Final = ("weight_bytes", "kv_bytes", "headroom_bytes", "memory_needed", "memory_available")


def table(considered: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """Return a header and a row for each candidate, with sizes in GiB. An arrow marks the chosen one."""
    return [HEAD, *(_row(candidate) for candidate in considered)]


def _row(candidate: Candidate) -> tuple[str, ...]:
    return (
        "→" if candidate.chosen else "",
        candidate.precision.text,
        candidate.place.label,
        f"{candidate.context_size:,}",
        *(gib(getattr(candidate, name)) for name in SIZES),
        candidate.reason,
    )


def considered_in(result: Plan | HermesError) -> tuple[Candidate, ...]:
    """Return the candidates of a plan, or of the error if there is no plan."""
    return result.considered if isinstance(result, Plan | DoesNotFit) else ()


def as_object(model: ModelFacts, result: Plan | HermesError, *, fetched: bool) -> dict[str, Any]:
    """Return the plan as an object for scripts. If there is none, `plan` is None and `error` is the reason.

    Sizes are bytes.
    """
    found: dict[str, Any] = {"model": model.name, "fetched": fetched, "plan": None, "error": None}
    found["considered"] = [_candidate_object(candidate) for candidate in considered_in(result)]
    if not isinstance(result, Plan):
        return found | {"error": result.message, "hint": result.hint}
    plan = {field.name: getattr(result, field.name) for field in fields(result)}
    del plan["considered"]
    plan["path"] = str(result.path)
    plan["quantisation"] = plan.pop("quantization")  # scripts rely on the spelling
    plan["memory_needed"] = result.memory_needed
    return found | {"plan": plan, "summary": result.summary, "reason": result.reason}


def _candidate_object(candidate: Candidate) -> dict[str, Any]:
    names = ("context_size", *SIZES, "fits", "reason", "chosen")
    texts = {"precision": candidate.precision.text, "device": candidate.place.label}
    return texts | {name: getattr(candidate, name) for name in names}
