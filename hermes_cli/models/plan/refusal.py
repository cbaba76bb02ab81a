"""The error for a model that does not fit, with hints on what would fit, the largest first."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hermes_cli.errors import UsageError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import devices, gguf, precision
from hermes_cli.models.plan.candidates import Candidates, find_candidates
from hermes_cli.models.plan.memory import Candidate, weigh
from hermes_cli.models.plan.plan import CONTEXT_STEP, MIN_CONTEXT, CandidateSizes, DoesNotFit, PlanRequest
from hermes_cli.models.units import GIB, gib


def refusal(
    hardware: Hardware,
    model: ModelFacts,
    request: PlanRequest,
    found: Candidates,
    considered: Sequence[CandidateSizes],
) -> DoesNotFit:
    """Return the error for a model that does not fit, with the memory use of the smallest way and hints."""
    way = min(found.ways, key=lambda way: way.candidate(found.least, fits=False).memory_needed)
    row = way.candidate(found.least, fits=False)
    size = request.context_size
    subject = f"{model.name} with a context of {size:,} tokens" if size else model.name
    even = "even " if len({other.precision for other in found.ways}) > 1 else ""
    needed, free = _told_apart(row.memory_needed, row.memory_available)
    message = (
        f"{subject} does not fit {way.place.name}: {even}in {way.precision.text} it needs "
        f"{needed} GiB for {found.least:,} tokens ({row.sums}), and {free} GiB are free"
    )
    hints = list(_ways_out(hardware, model, request, found))[:2]
    last = f"close other programs, or {gguf.starter_hint(hardware.memory_available, model.weight_bytes)}"
    return DoesNotFit(message, "; or ".join(hints) or last, considered)


def _told_apart(needed: int, free: int) -> tuple[str, str]:
    """Return two sizes in GiB, with three decimals if they are equal with one."""
    if gib(needed) != gib(free):
        return gib(needed), gib(free)
    return f"{needed / GIB:.3f}", f"{free / GIB:.3f}"


def smaller(hardware: Hardware, model: ModelFacts, found: Candidates, way: Candidate) -> str:
    """Return the flag and the memory use of the next smaller alternative to `way`, or an empty text."""
    place = way.place
    can_shrink = place.gpus and not way.precision.own and way.precision.quantization != precision.NF4
    if can_shrink and not any(precision.problem("4bit", gpu) for gpu in place.gpus):
        less = weigh(model, precision.meant(model, "4bit", place.gpus), place, way.room)
        if less.room >= found.least:
            return f"--precision 4bit needs {gib(less.candidate(less.room, fits=True).memory_needed)} GiB"
    half = way.room // 2 // CONTEXT_STEP * CONTEXT_STEP
    if half >= MIN_CONTEXT:
        return f"--context {half} needs {gib(way.candidate(half, fits=True).memory_needed)} GiB"
    other = gguf.alternative(hardware, model)
    if other and other[1].fits:
        return f"-m {other[0]} needs {gib(other[1].memory_needed)} GiB of main memory"
    return ""


def _ways_out(
    hardware: Hardware, model: ModelFacts, request: PlanRequest, found: Candidates
) -> Iterator[str]:
    """Yield hints on what would fit: another context, precision or device, the GGUF, the CPU."""
    room = max(way.room for way in found.ways)
    if request.context_size and room >= min(MIN_CONTEXT, request.context_size):
        yield f"a context of {room} would fit"
    if found.asked_precision != precision.AUTO and not model.format.is_quantized:
        yield from _relaxed(hardware, model, replace(request, precision=None), "--precision {}")
    if found.asked_device != devices.AUTO:
        yield from _relaxed(hardware, model, replace(request, device=None), "without --device")
    other = gguf.alternative(hardware, model)
    if other and other[1].fits:
        needed, free = gib(other[1].memory_needed), gib(hardware.memory_available)
        yield (
            f"-m {other[0]}, a GGUF, runs on the processor with {needed} of {free} GiB of main memory "
            f"('hermes models pull {other[0]}' fetches it)"
        )
    if found.ways[0].precision.is_half and not found.ways[0].place.gpus:
        for word, how in (("8bit", "--precision {}"), ("4bit", "--precision {} (slowly)")):
            yield from _relaxed(hardware, model, replace(request, precision=word), how)
    if found.asked_device == devices.AUTO and hardware.gpus:
        yield from _relaxed(hardware, model, replace(request, device=devices.CPU), "--device cpu (slowly)")


def _relaxed(hardware: Hardware, model: ModelFacts, request: PlanRequest, how: str) -> Iterator[str]:
    """Yield a hint if the relaxed `request` fit. `{}` in `how` is replaced by the --precision value."""
    try:
        way = find_candidates(hardware, model, request).chosen
    except UsageError:
        return
    if way is not None:
        row = way.candidate(way.room, fits=True)
        flags = how.format(way.precision.word)
        yield f"{flags} would do: {row.precision} on {row.device} needs {gib(row.memory_needed)} GiB"
