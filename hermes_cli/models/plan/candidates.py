"""Finds the ways to run a model on this machine, and chooses the best one that fits."""

from typing import Literal, NamedTuple

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models.catalogue import WeightFormat, entry_for
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import devices, precision
from hermes_cli.models.plan.context import ContextLimits, context_limits
from hermes_cli.models.plan.devices import Place, cpu_place, gpu_place
from hermes_cli.models.plan.memory import Candidate, evaluate
from hermes_cli.models.plan.offload import OffloadedCandidate
from hermes_cli.models.plan.request import (
    ALL_LAYERS,
    AUTO,
    CPU,
    KV_TYPES,
    PlanRequest,
    normalize_device,
    normalize_precision,
)

Q8_BLOCK = 32
"""The number of elements that share a scale in q8_0. The width of a head must be a multiple of it."""


class Candidates(NamedTuple):
    """The candidates that a request allows, best first, and the chosen one, or None if none fits.

    `precision` and `device` are the requested values, or `auto`. `gguf` is the best candidate for the GGUF of
    the same model, for comparison. It is None if the model is a GGUF, or if the catalogue has none.
    """

    model: ModelFacts
    all: tuple[Candidate, ...]
    chosen: Candidate | None
    limits: ContextLimits
    precision: str
    device: str
    gguf: Candidate | None

    @property
    def on_gpu(self) -> bool:
        """Whether some candidates use GPUs."""
        return bool(self.all[0].place.gpus)

    @property
    def on_cpu(self) -> bool:
        """Whether some candidates use only the CPU."""
        return not self.all[-1].place.gpus

    def evaluate(self, value: str, place: Place) -> Candidate:
        """Return the candidate for a value of --precision on the devices of `place`."""
        return _evaluate(self.model, value, place, self.limits)


def find_candidates(hardware: Hardware, model: ModelFacts, request: PlanRequest) -> Candidates:
    """Return the candidates for `model` that `request` allows.

    Raises UsageError if the request is impossible on this machine, and ModelUnavailable if no GPU here
    supports the quantization of the weights.
    """
    limits = context_limits(model, request.context_size)
    value = normalize_precision(request.precision)
    device = normalize_device(request.device)
    if model.format.has_fixed_precision:
        precision.check_stored(model, value)
    if model.format is WeightFormat.GGUF:
        found = _gguf_candidates(hardware, model, device, request, limits)
    else:
        _check_no_gguf_flags(model, request)
        found = _torch_candidates(hardware, model, value, device, limits)
    gguf = None if model.format is WeightFormat.GGUF else _gguf(hardware, model)
    return Candidates(model, tuple(found), _best(found, limits), limits, value, device, gguf)


def _evaluate(model: ModelFacts, value: str, place: Place, limits: ContextLimits) -> Candidate:
    return evaluate(Candidate(model, precision.resolve(model, value, place.gpus), place, 0), limits)


def _check_no_gguf_flags(model: ModelFacts, request: PlanRequest) -> None:
    """Raise UsageError if the request has a flag that applies only to GGUF files."""
    if request.gpu_layers is not None or request.kv is not None:
        flag = "--kv" if request.gpu_layers is None else "--gpu-layers"
        raise UsageError(f"{flag} is for GGUF files, but {model.name} is not one", f"omit {flag}")


def _torch_candidates(
    hardware: Hardware, model: ModelFacts, value: str, device: str, limits: ContextLimits
) -> list[Candidate]:
    """Return the candidates for Hugging Face weights, which run in torch."""
    groups = devices.gpu_groups(hardware.gpus, device)
    exact = ":" in device  # a value such as `cuda:0+1` requires each of the listed GPUs
    found: list[Candidate] = []
    for tried in precision.values_to_try(model, value, on_cpu=not groups):
        for gpus in groups:
            found += _on_gpus(model, tried, gpus, limits, exact=exact)
        if not groups:
            found.append(_evaluate(model, tried, cpu_place(hardware), limits))
    if not found:
        raise _unsupported(model, value, groups[0][0])
    return found


def _gguf_candidates(
    hardware: Hardware, model: ModelFacts, device: str, request: PlanRequest, limits: ContextLimits
) -> list[Candidate]:
    """Return the candidates for a GGUF: on one GPU, on several, and on the CPU.

    If a GPU or GPU layers are requested, the CPU is not a candidate.
    """
    if request.kv == "q8_0" and any(width % Q8_BLOCK for width in model.head_widths):
        raise UsageError(
            f"{model.name} cannot use q8_0: the width of its heads is not a multiple of {Q8_BLOCK}",
            "omit --kv",
        )
    _check_gpu_layers(hardware, model, device, request.gpu_layers)
    groups = [] if request.gpu_layers == 0 else _llama_gpu_groups(hardware, model, device)
    on_cpu = Candidate(
        model, precision.resolve(model, AUTO, ()), cpu_place(hardware), 0, request.kv or KV_TYPES[0]
    )
    found: list[Candidate] = []
    for gpus in groups:
        min_count = len(gpus) if ":" in device else 1
        for count in range(min_count, len(gpus) + 1):
            place = gpu_place(gpus[:count], hardware.memory_available)
            offloaded = OffloadedCandidate(
                model, on_cpu.precision, place, 0, on_cpu.kv_type, gpu_layers=request.gpu_layers
            )
            found.append(evaluate(offloaded, limits))
            if sum(found[-1].layers) > model.layers:  # all layers fit: more GPUs would only be slower
                break
    found.sort(key=lambda candidate: -sum(candidate.layers))
    if not groups or (device == AUTO and request.gpu_layers is None):
        found.append(evaluate(on_cpu, limits))
    return found


def _check_gpu_layers(
    hardware: Hardware, model: ModelFacts, device: str, count: int | Literal["all"] | None
) -> None:
    """Raise UsageError if the requested number of layers on GPUs is impossible."""
    if count and device == CPU:
        raise UsageError(
            f"--gpu-layers {count} needs a GPU, but device cpu was requested",
            "omit --gpu-layers, or use --device auto",
        )
    if isinstance(count, int) and count > model.layers + 1:
        raise UsageError(
            f"{model.name} has {model.layers + 1} layers, including the output layer, not {count:,}",
            f"use --gpu-layers {ALL_LAYERS}, or a smaller number",
        )
    if count and not hardware.llama.gpus:
        raise UsageError("--gpu-layers needs a GPU, but the installed llama.cpp can use none", LLAMA_HINT)


LLAMA_HINT = "'hermes doctor' lists the GPUs, and what is needed to use them"


def _llama_gpu_groups(hardware: Hardware, model: ModelFacts, device: str) -> list[list[Gpu]]:
    """Return the GPUs that `device` allows llama.cpp to use, one list per kind, or raise UsageError."""
    if device not in (AUTO, CPU) and not hardware.llama.gpus:
        raise UsageError(
            f"{model.name} is a GGUF, and the installed llama.cpp runs it only on the CPU",
            f"omit --device and the setting 'device'; {LLAMA_HINT}",
        )
    return devices.gpu_groups(hardware.llama.gpus, device)


def _on_gpus(
    model: ModelFacts, value: str, gpus: list[Gpu], limits: ContextLimits, *, exact: bool
) -> list[Candidate]:
    """Return the candidates on GPUs of one kind: the one with the most free memory, then several together.

    With `exact`, the only candidate uses all of `gpus`.
    """
    usable = [gpu for gpu in gpus if not precision.problem(model, value, gpu)]
    if not usable or (exact and len(usable) < len(gpus)):
        return []

    def candidate_on(used: list[Gpu]) -> Candidate:
        return _evaluate(model, value, gpu_place(used), limits)

    if exact or len(usable) == 1:
        return [candidate_on(usable)]
    for count in range(2, len(usable) + 1):  # use no more GPUs than needed
        several = candidate_on(usable[:count])
        if several.max_context >= limits.comfortable:
            break
    return [candidate_on(usable[:1]), several]


def _unsupported(model: ModelFacts, value: str, gpu: Gpu) -> HermesError:
    """Return the error for a precision that none of the GPUs supports."""
    problem = precision.problem(model, value, gpu)
    if value == AUTO:
        return ModelUnavailable(
            f"{model.name} is {model.precision}: {problem}", "use --device cpu, which is slow"
        )
    hint = "use --precision 16bit"
    if value == "bf16":
        hint += ", which selects a type that the GPU supports"
    return UsageError(f"{model.name} cannot run in {value}: {problem}", hint)


def _best(candidates: list[Candidate], limits: ContextLimits) -> Candidate | None:
    """Return the first candidate with a comfortable context, else the one with the longest, if any fits."""
    comfortable = (c for c in candidates if c.max_context >= limits.comfortable)
    best = next(comfortable, None) or max(candidates, key=lambda c: c.max_context)
    return best if best.fits else None


def _gguf(hardware: Hardware, model: ModelFacts) -> Candidate | None:
    """Return the best candidate for a model's GGUF, or None if the catalogue has no such model."""
    entry = entry_for(model.repo, model.name)
    if entry is None:
        return None
    gguf = facts_of_variant(entry, entry.gguf)
    limits = context_limits(gguf, None)
    found = _gguf_candidates(hardware, gguf, AUTO, PlanRequest(), limits)
    return _best(found, limits) or found[-1]
