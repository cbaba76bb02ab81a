"""Formats a plan as a table of memory sizes for `hermes models plan`, and as an object for JSON output."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Final

from hermes_cli.errors import HermesError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.plan.memory import Candidate
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.units import gib

HEADER: Final = ("", "precision", "device", "context", "weights", "KV cache", "headroom", "needs", "free", "")
SIZE_FIELDS: Final = ("weight_bytes", "kv_bytes", "headroom_bytes", "memory_needed", "memory_available")


def table(considered: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """Return a header and a row for each candidate, with sizes in GiB. An arrow marks the chosen one."""
    return [HEADER, *(_row(candidate) for candidate in considered)]


def _row(candidate: Candidate) -> tuple[str, ...]:
    return (
        "→" if candidate.chosen else "",
        candidate.precision.text,
        candidate.place.label,
        f"{candidate.context_size:,}",
        *(gib(getattr(candidate, name)) for name in SIZE_FIELDS),
        candidate.reason,
    )


def stacked(considered: Sequence[Candidate]) -> str:
    """Return the table as short lines for each candidate, for a terminal that is too narrow for it."""
    return "\n".join(line for candidate in considered for line in _lines(candidate))


def _lines(candidate: Candidate) -> Iterator[str]:
    weights, cache, headroom, needed, available = (gib(getattr(candidate, name)) for name in SIZE_FIELDS)
    mark = "→" if candidate.chosen else " "
    yield f"{mark} {candidate.precision.text} on {candidate.place.label}: {candidate.reason}"
    yield f"   context {candidate.context_size:,}, needs {needed} of {available} GiB"
    yield f"   weights {weights}, KV {cache}, headroom {headroom}"


def candidates_of(result: Plan | HermesError) -> tuple[Candidate, ...]:
    """Return the candidates of a plan, or of the error if planning failed."""
    return result.considered if isinstance(result, Plan | DoesNotFit) else ()


def plan_object(model: ModelFacts, result: Plan | HermesError, *, fetched: bool) -> dict[str, Any]:
    """Return the plan as an object for JSON output, with sizes in bytes.

    If planning failed, `plan` is None and `error` is the reason.
    """
    report: dict[str, Any] = {"model": model.name, "fetched": fetched, "plan": None, "error": None}
    report["considered"] = [_candidate_object(candidate) for candidate in candidates_of(result)]
    if not isinstance(result, Plan):
        return report | {"error": result.message, "hint": result.hint}
    plan = {field.name: getattr(result, field.name) for field in fields(result)}
    del plan["considered"]
    plan["prompt_format"] = str(result.prompt_format)
    plan["path"] = str(result.path)
    plan["smaller"] = result.smaller.advice if result.smaller else ""
    plan["quantisation"] = plan.pop("quantization")  # scripts rely on the spelling
    plan["memory_needed"] = result.memory_needed
    return report | {"plan": plan, "summary": result.summary, "reason": result.reason}


def _candidate_object(candidate: Candidate) -> dict[str, Any]:
    names = ("context_size", *SIZE_FIELDS, "fits", "reason", "chosen")
    texts = {"precision": candidate.precision.text, "device": candidate.place.label}
    return texts | {name: getattr(candidate, name) for name in names}
