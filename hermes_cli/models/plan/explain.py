"""Explains a plan to the user: the precision, the device and the context size."""

from dataclasses import replace

from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.candidates import Candidates
from hermes_cli.models.plan.context import DEFAULT_CONTEXT, trained_context
from hermes_cli.models.plan.devices import Place
from hermes_cli.models.plan.memory import Candidate
from hermes_cli.models.plan.offload import OffloadedCandidate
from hermes_cli.models.plan.precision import INT8, NF4, capability_text
from hermes_cli.models.plan.request import AUTO, CPU, PlanRequest
from hermes_cli.models.units import gib
from hermes_cli.prompts.format_choice import FormatChoice


def reason(
    hardware: Hardware,
    candidates: Candidates,
    chosen: Candidate,
    request: PlanRequest,
    prompt_format: FormatChoice,
) -> str:
    """Return the reason for the chosen candidate: one sentence of clauses separated by semicolons."""
    if isinstance(chosen, OffloadedCandidate):
        requested = f"device {chosen.place.label} was requested" if candidates.device != AUTO else ""
        clauses = [requested, chosen.split_text, chosen.place.used_by_others]
    elif chosen.model.engine == "llama.cpp":
        clauses = [_llama_on_cpu_clause(hardware, candidates, request)]
    else:
        clauses = [
            request.device_reason or _device_clause(hardware, candidates, chosen),
            _precision_clause(candidates, chosen),
            _speed_clause(candidates, chosen),
            chosen.place.used_by_others,
        ]
    if chosen.model.is_pickled:
        clauses.append("the weights are pickled (.bin), and only tensors are read from them")
    clauses.append(f"the prompt format is {prompt_format}")
    clauses.append(_context_clause(chosen, request))
    return "; ".join(clause for clause in clauses if clause)


def _llama_on_cpu_clause(hardware: Hardware, candidates: Candidates, request: PlanRequest) -> str:
    """Return a clause that explains why llama.cpp runs on the CPU."""
    cores = f"{hardware.physical_cores} physical core{'s' if hardware.physical_cores != 1 else ''}"
    runs = f"llama.cpp runs on the CPU, which has {cores}"
    if candidates.device == CPU:
        return f"device cpu was requested; {runs}"
    if request.gpu_layers == 0:
        return f"no layers on a GPU were requested; {runs}"
    if candidates.on_gpu:
        return f"{_too_small_clause(candidates.all[0].place)}; {runs}"
    if hardware.llama.problem:
        return f"the installed llama.cpp supports GPUs, but {hardware.llama.problem}; {runs}"
    if hardware.gpus:
        return f"the installed llama.cpp does not support {hardware.gpus[0].label}; {runs}"
    return f"{_no_gpu_clause(hardware)}; {runs}"


def _too_small_clause(place: Place) -> str:
    """Return a clause that explains why no layer of a GGUF is on a GPU."""
    free = gib(place.memory_available)
    if place.gpus[0].shares_memory:
        return f"{place.name} shares main memory, and {free} GiB are too little for the model and its buffers"
    return f"{place.name} has {free} GiB free, too little for its buffers and one layer"


def _no_gpu_clause(hardware: Hardware) -> str:
    """Return a clause that explains why no GPU can be used."""
    for vendor in hardware.without_driver:
        return f"the driver of the {vendor} GPU does not respond"
    return "no GPU was found"


def passed_over(candidates: Candidates, chosen: Candidate) -> str:
    """Return the memory that 16-bit weights would need if 4-bit ones were chosen, else an empty string."""
    if candidates.precision != AUTO or chosen.precision.quantization != NF4:
        return ""
    return f"16-bit would need {_half_needed(candidates, chosen)} GiB"


def verdict(candidates: Candidates, candidate: Candidate) -> str:
    """Return a short reason why a candidate was chosen or not chosen."""
    if candidate is candidates.chosen:
        return f"chosen{_layers_clause(candidate)}"
    if not candidate.fits:
        return candidate.misfit
    if candidate.max_context < candidates.limits.comfortable:
        return f"fits a context of only {candidate.max_context:,} tokens"
    return f"not needed{_layers_clause(candidate)}"


def _layers_clause(candidate: Candidate) -> str:
    if not isinstance(candidate, OffloadedCandidate):
        return ""
    return f", {sum(candidate.layers)} of {candidate.layer_count} layers"


def _half_needed(candidates: Candidates, chosen: Candidate) -> str:
    """Return how many GiB 16-bit weights would need with the chosen context."""
    half = next(candidate for candidate in candidates.all if candidate.precision.is_half)
    return gib(replace(half, context_size=chosen.context_size).memory_needed)


def _device_clause(hardware: Hardware, candidates: Candidates, chosen: Candidate) -> str:
    if candidates.device != AUTO:
        return f"device {chosen.place.label} was requested"
    return "" if chosen.place.gpus else _no_gpu_clause(hardware)


def _precision_clause(candidates: Candidates, chosen: Candidate) -> str:
    place, precision = chosen.place, chosen.precision
    if precision.stored:
        return f"the weights are stored in {precision.stored} and fit {place.name}"
    if candidates.precision != AUTO:
        return f"precision {candidates.precision} was requested and fits {place.name}{_type_note(chosen)}"
    if precision.quantization == NF4:
        single = candidates.all[0].place
        return (
            f"16-bit would need {_half_needed(candidates, chosen)} GiB and {single.label} has "
            f"{gib(single.memory_available)} GiB free, so the linear layers are quantized to 4-bit NF4 "
            f"(double quantization) while loading, and computed in {precision.dtype}{_layers_note(chosen)}"
            f"{_several_gpus_note(candidates, chosen)}"
        )
    if len(place.gpus) > 1 and candidates.device == AUTO:
        return f"16-bit weights do not fit a single GPU, but fit {place.name}{_layers_note(chosen)}"
    return f"16-bit weights fit {place.name}{_type_note(chosen)}"


def _type_note(chosen: Candidate) -> str:
    """Return a note on the data type used, with the reason if a GPU does not support bfloat16."""
    dtype = chosen.precision.dtype
    gpu = next((gpu for gpu in chosen.place.gpus if not gpu.has_bfloat16), None)
    if dtype != "float16" or gpu is None:
        return f", in {dtype}"
    if gpu.kind == "rocm":
        return f", in float16 ({gpu.arch or 'the GPU'} is not known to support bfloat16)"
    if gpu.capability is None:
        return ", in float16 (the driver does not report the GPU's compute capability)"
    return f", in float16 (bfloat16 needs compute capability 8.0, {gpu.label} has {capability_text(gpu)})"


def _several_gpus_note(candidates: Candidates, chosen: Candidate) -> str:
    """Return why 4-bit weights on one GPU are better than 16-bit weights on several, or an empty string."""
    several = [c for c in candidates.all if c.precision.is_half and len(c.place.gpus) > 1]
    if not several or len(chosen.place.gpus) > 1:
        return ""
    best = max(several, key=lambda candidate: candidate.max_context)
    if not best.max_context:
        return f"; 16-bit weights do not fit {best.place.name}"
    return f"; on {best.place.name}, 16-bit weights fit with a context of only {best.max_context:,} tokens"


def _layers_note(chosen: Candidate) -> str:
    return f" ({' + '.join(map(str, chosen.layers))} layers)" if len(chosen.layers) > 1 else ""


def _speed_clause(candidates: Candidates, chosen: Candidate) -> str:
    """Return a clause about the speed of a GGUF on the CPU, or an empty string if GPUs are used."""
    if chosen.place.gpus:
        return ""
    gguf = f"its GGUF (-m {candidates.gguf.model.name})" if candidates.gguf else "a GGUF"
    if chosen.precision.quantization == INT8:
        return f"on the CPU, 8-bit weights are about twice as fast as 16-bit ones, and {gguf} is faster still"
    if chosen.precision.quantization or chosen.precision.stored:
        return f"on the CPU, quantized weights save memory but are slow, and {gguf} is several times faster"
    return f"on the CPU, {gguf} would be several times faster, and --precision 8bit about twice as fast"


def _context_clause(chosen: Candidate, request: PlanRequest) -> str:
    context, trained = chosen.context_size, trained_context(chosen.model)
    if request.context_size is not None:
        source = f" ({request.context_source})" if request.context_source else ""
        return f"a context of {context:,} tokens was requested{source}"
    if context < min(trained, DEFAULT_CONTEXT):
        return f"the free memory is enough for a context of {context:,} of {trained:,} tokens"
    if context < trained:
        return f"the model supports a context of up to {trained:,} tokens (set it with --context)"
    return f"the context is the model's maximum, {trained:,} tokens"
