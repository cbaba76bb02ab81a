"""Finds the ways to run a model on this machine, and chooses the best one that fits."""

from dataclasses import dataclass
from typing import Literal

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models.catalogue import WeightFormat, entry_for
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import devices, precision
from hermes_cli.models.plan.devices import CPU, Place, cpu_place, gpu_place
from hermes_cli.models.plan.memory import Candidate, evaluate
from hermes_cli.models.plan.offload import OffloadedCandidate
from hermes_cli.models.plan.request import (
    ALL_LAYERS,
    AUTO,
    KV_TYPES,
    ContextLimits,
    PlanRequest,
    context_limits,
)

Q8_BLOCK = 32
"""The elements that share a scale in q8_0, all of them in one head."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates that a request allows, from the best to the smallest, and the chosen one, if any fits.

    `precision` and `device` are the requested values, or `auto`. `gguf` is the best candidate of the same
    model's GGUF, for comparison, if the catalogue has one.
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
        """Whether some of the candidates are on GPUs."""
        return bool(self.all[0].place.gpus)

    @property
    def on_cpu(self) -> bool:
        """Whether some of the candidates are on the CPU."""
        return not self.all[-1].place.gpus

    def evaluate(self, value: str, place: Place) -> Candidate:
        """Return the candidate for a value of --precision at a place."""
        return _evaluate(self.model, value, place, self.limits)


def find_candidates(hardware: Hardware, model: ModelFacts, request: PlanRequest) -> Candidates:
    """Return the candidates for `model` that `request` allows.

    Raises UsageError if a request is impossible on this machine, and ModelUnavailable if no GPU here supports
    the quantization of the weights.
    """
    limits = context_limits(model, request.context_size)
    value = precision.normalize(request.precision)
    device = devices.normalize(request.device)
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
    """Raise UsageError if the request has a flag that only a GGUF has."""
    if request.gpu_layers is not None or request.kv is not None:
        flag = "--kv" if request.gpu_layers is None else "--gpu-layers"
        raise UsageError(f"{flag} is for GGUF files, and {model.name} is not one", f"omit {flag}")


def _torch_candidates(
    hardware: Hardware, model: ModelFacts, value: str, device: str, limits: ContextLimits
) -> list[Candidate]:
    """Return the candidates for 16-bit or quantized weights in torch."""
    groups = devices.gpu_groups(hardware.gpus, device)
    exact = ":" in device  # `cuda:0+1` names the GPUs, all of which must be used
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

    The CPU is left out if a GPU is requested.
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
        fewest = len(gpus) if ":" in device else 1
        for count in range(fewest, len(gpus) + 1):
            place = gpu_place(gpus[:count], hardware.memory_available)
            offloaded = OffloadedCandidate(
                model, on_cpu.precision, place, 0, on_cpu.kv_type, gpu_layers=request.gpu_layers
            )
            found.append(evaluate(offloaded, limits))
            if sum(found[-1].layers) > model.layers:  # all layers: more GPUs would only be slower
                break
    found.sort(key=lambda candidate: -sum(candidate.layers))
    if not groups or (device == AUTO and request.gpu_layers is None):
        found.append(evaluate(on_cpu, limits))
    return found


def _check_gpu_layers(
    hardware: Hardware, model: ModelFacts, device: str, count: int | Literal["all"] | None
) -> None:
    """Raise UsageError if the requested number of layers on the GPU is impossible."""
    if count and device == CPU:
        raise UsageError(
            f"--gpu-layers {count} needs a GPU, and device cpu was requested",
            "omit --gpu-layers, or use --device auto",
        )
    if isinstance(count, int) and count > model.layers + 1:
        raise UsageError(
            f"{model.name} has {model.layers + 1} layers, with the output layer, not {count:,}",
            f"use --gpu-layers {ALL_LAYERS}, or a smaller number",
        )
    if count and not hardware.llama.gpus:
        raise UsageError("--gpu-layers needs a GPU, and the installed llama.cpp can use none", LLAMA_HINT)


LLAMA_HINT = "'hermes doctor' lists the GPUs, and what is needed to use them"


def _llama_gpu_groups(hardware: Hardware, model: ModelFacts, device: str) -> list[list[Gpu]]:
    """Return the GPUs that llama.cpp may use, one list for each kind."""
    if device not in (AUTO, CPU) and not hardware.llama.gpus:
        raise UsageError(
            f"{model.name} is a GGUF, and the installed llama.cpp runs it only on the CPU",
            f"omit --device and the setting 'device'; {LLAMA_HINT}",
        )
    return devices.gpu_groups(hardware.llama.gpus, device)


def _on_gpus(
    model: ModelFacts, value: str, gpus: list[Gpu], limits: ContextLimits, *, exact: bool
) -> list[Candidate]:
    """Return the candidates on GPUs of a kind: on the one with the most free memory, then on several.

    With `exact`, all of them must be used.
    """
    usable = [gpu for gpu in gpus if not precision.problem(model, value, gpu)]
    if not usable or (exact and len(usable) < len(gpus)):
        return []

    def on(some: list[Gpu]) -> Candidate:
        return _evaluate(model, value, gpu_place(some), limits)

    if exact or len(usable) == 1:
        return [on(usable)]
    for count in range(2, len(usable) + 1):  # use no more GPUs than needed
        several = on(usable[:count])
        if several.max_context >= limits.comfortable:
            break
    return [on(usable[:1]), several]


def _unsupported(model: ModelFacts, value: str, gpu: Gpu) -> HermesError:
    """Return the error for a precision that no GPU here supports."""
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
    """Return the first candidate with a comfortable context, else the one with the longest, or None."""
    comfortable = (c for c in candidates if c.max_context >= limits.comfortable)
    best = next(comfortable, None) or max(candidates, key=lambda c: c.max_context)
    return best if best.fits else None


def _gguf(hardware: Hardware, model: ModelFacts) -> Candidate | None:
    """Return the best candidate of a model's GGUF variant, or None if the catalogue has none."""
    entry = entry_for(model.repo, model.name)
    if entry is None:
        return None
    gguf = facts_of_variant(entry, entry.gguf)
    limits = context_limits(gguf, None)
    found = _gguf_candidates(hardware, gguf, AUTO, PlanRequest(), limits)
    return _best(found, limits) or found[-1]
