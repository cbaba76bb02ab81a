"""The reasons for a plan in words: the precision, the device and the context."""

from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.plan import devices, precision
from hermes_cli.models.plan.candidates import Candidates
from hermes_cli.models.plan.memory import Candidate, layers
from hermes_cli.models.plan.plan import CandidateSizes, PlanRequest, context_reason
from hermes_cli.models.plan.precision import INT8, NF4, Precision, capability_text
from hermes_cli.models.units import gib


def reason(
    model: ModelFacts, found: Candidates, way: Candidate, request: PlanRequest, gguf: str | None
) -> str:
    """Return the reason for the chosen way in one sentence. `gguf` is the name of its GGUF, if any."""
    clauses = [
        _device_clause(found, way),
        _precision_clause(found, way),
        _slowness(way, gguf),
        way.place.used_by_others,
        "its weights are pickled (.bin), and nothing but bare tensors is read from them"
        if model.is_pickled
        else "",
        context_reason(model, request.context_size, way.room),
    ]
    return "; ".join(clause for clause in clauses if clause)


def passed_over(found: Candidates, way: Candidate) -> str:
    """Return the memory of 16-bit weights if 4-bit ones were chosen instead, else empty."""
    if found.asked_precision != precision.AUTO or way.precision.quantization != NF4:
        return ""
    return f"16-bit would need {gib(_half_needed(found, way))}"


def verdict(found: Candidates, way: Candidate, row: CandidateSizes) -> str:
    """Return a few words on why a way was chosen or not."""
    if way is found.chosen:
        return "chosen"
    if not row.fits:
        short = row.memory_needed - row.memory_available
        return f"{gib(short)} GiB short" if short > 0 else "no split of its layers fits"
    if way.room < found.comfortable:
        return f"leaves room for {way.room:,} tokens only"
    return "not needed"


def _half_needed(found: Candidates, way: Candidate) -> int:
    first = next(other for other in found.ways if other.precision.is_half)
    return first.candidate(way.room, fits=False).memory_needed


def _device_clause(found: Candidates, way: Candidate) -> str:
    if found.asked_device != devices.AUTO:
        return f"{way.place.label} was asked for"
    return "" if way.place.gpus else "there is no GPU here"


def _precision_clause(found: Candidates, way: Candidate) -> str:
    place, chosen = way.place, way.precision
    if chosen.own:
        return f"its weights are {chosen.own} already, and fit {place.name}"
    if found.asked_precision != precision.AUTO:
        return f"{found.asked_precision} was asked for, and fits {place.name}{_type_note(way, chosen)}"
    if chosen.quantization == NF4:
        alone = found.ways[0].place
        return (
            f"16-bit would need {gib(_half_needed(found, way))} GiB and {alone.label} has "
            f"{gib(alone.memory_available)} free, so the linear layers are quantized to 4-bit NF4 (double "
            f"quantization) while loading, and computed in {chosen.dtype}{_split_note(way)}"
            f"{_together_note(found, way)}"
        )
    if len(place.gpus) > 1 and found.asked_device == devices.AUTO:
        return f"no card holds the 16-bit weights alone, and {place.name} do{_split_note(way)}"
    return f"16-bit weights fit {place.name} as they are{_type_note(way, chosen)}"


def _type_note(way: Candidate, chosen: Precision) -> str:
    """Return the type of the computation, with the reason if it is not bfloat16."""
    if chosen.dtype != "float16" or not way.place.gpus:
        return f", in {chosen.dtype}"
    gpu = next((gpu for gpu in way.place.gpus if not gpu.has_bfloat16), None)
    if gpu is None:
        return ", in float16"
    if gpu.kind == "rocm":
        return f", in float16 ({gpu.arch or 'the card'} is not known to compute bfloat16)"
    if gpu.capability is None:
        return ", in float16 (the driver does not tell the card's compute capability)"
    return f", in float16 (bfloat16 needs compute capability 8.0, {gpu.label} has {capability_text(gpu)})"


def _together_note(found: Candidates, way: Candidate) -> str:
    """Return the reason why 4-bit weights on one GPU were better than several GPUs, or empty."""
    several = [w for w in found.ways if w.precision.is_half and len(w.place.gpus) > 1]
    if not several or len(way.place.gpus) > 1:
        return ""
    most = max(several, key=lambda other: other.room)
    room = f"leave a context of {most.room:,} tokens only" if most.room else "do not hold the 16-bit weights"
    return f"; {most.place.name} {room}"


def _split_note(way: Candidate) -> str:
    split = layers(way.model, way.precision, way.place, way.room) or ()
    return f" ({' + '.join(map(str, split))} layers)" if len(split) > 1 else ""


def _slowness(way: Candidate, gguf: str | None) -> str:
    """Return a note that weights on the CPU are slower than a GGUF there, or empty on a GPU."""
    if way.place.gpus:
        return ""
    other = f"its GGUF (-m {gguf})" if gguf else "a GGUF"
    if way.precision.quantization == INT8:
        return f"8-bit weights answer about twice as fast there as 16-bit ones, and {other} faster still"
    if way.precision.quantization or way.precision.own:
        return f"quantized weights save memory on the processor and are slow, {other} is several times faster"
    return f"{other} would answer several times faster, --precision 8bit about twice as fast"
