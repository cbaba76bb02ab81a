"""The plan for a folder of Hugging Face weights, which run on transformers."""

from dataclasses import replace

from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import devices, gguf, precision
from hermes_cli.models.plan.candidates import Candidates, eight_bit, find_candidates
from hermes_cli.models.plan.explain import passed_over, reason, verdict
from hermes_cli.models.plan.memory import Candidate, layers, weigh
from hermes_cli.models.plan.plan import CandidateSizes, Plan, PlanRequest, checked_threads
from hermes_cli.models.plan.refusal import refusal, smaller
from hermes_cli.models.units import gib


def choose_checkpoint(hardware: Hardware, model: ModelFacts, request: PlanRequest) -> Plan:
    """Return the plan for Hugging Face weights. Raises as `plan.choose` does."""
    threads = checked_threads(hardware.physical_cores, request.threads)
    found = find_candidates(hardware, model, request)
    considered = _considered(hardware, model, found)
    way = found.chosen
    if way is None:
        raise refusal(hardware, model, request, found, considered)
    row = way.candidate(way.room, fits=True)
    other = gguf.alternative(hardware, model)
    return Plan(
        model=model.name,
        engine="transformers",
        path=model.path,
        precision=row.precision,
        device=row.device,
        context_size=row.context_size,
        threads=threads,
        weight_bytes=row.weight_bytes,
        kv_bytes=row.kv_bytes,
        headroom_bytes=row.headroom_bytes,
        memory_available=row.memory_available,
        reason=reason(model, found, way, request, other[0] if other else None),
        devices=way.place.devices,
        dtype=way.precision.dtype,
        quantization=way.precision.quantization,
        layers=layers(model, way.precision, way.place, way.room) or (),
        smaller=smaller(hardware, model, found, way),
        passed_over=passed_over(found, way),
        revision=model.revision,
        considered=considered,
    )


def _considered(hardware: Hardware, model: ModelFacts, found: Candidates) -> tuple[CandidateSizes, ...]:
    """Return a candidate for each way in the survey, and for alternatives that the user may compare."""
    rows = [_row(found, way) for way in found.ways]
    if found.asked_precision == precision.AUTO and not model.format.is_quantized:
        eight = eight_bit(model, found)
        if eight is not None:
            at = next((i for i, row in enumerate(rows) if "nf4" in row.precision), len(rows))
            rows.insert(at, _unasked(found, eight, "--precision 8bit"))
    if found.asked_device == devices.AUTO and hardware.gpus:
        cpu = weigh(
            model,
            precision.meant(model, found.asked_precision, ()),
            devices.cpu_place(hardware),
            found.target,
        )
        rows.append(_unasked(found, cpu, "--device cpu"))
    other = gguf.alternative(hardware, model)
    if other is not None:
        row = other[1]
        rows.append(row if row.fits else replace(row, reason=_short(row)))
    return tuple(rows)


def _row(found: Candidates, way: Candidate) -> CandidateSizes:
    fits = way.room >= found.least
    row = way.candidate(way.room if fits else found.target, fits=fits)
    return replace(row, reason=verdict(found, way, row), chosen=way is found.chosen)


def _unasked(found: Candidates, way: Candidate, flag: str) -> CandidateSizes:
    row = _row(found, way)
    return replace(row, reason=f"only when asked for: {flag}") if row.fits else row


def _short(row: CandidateSizes) -> str:
    return f"{gib(row.memory_needed - row.memory_available)} GiB short"
