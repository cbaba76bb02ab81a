"""Finds the ways to run a model on this machine, and chooses the best one that fits."""

from dataclasses import dataclass

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models.catalogue import WeightFormat, entry_for
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import devices, precision
from hermes_cli.models.plan.devices import CPU, Place, cpu_place, gpu_place
from hermes_cli.models.plan.memory import Candidate, evaluate
from hermes_cli.models.plan.request import AUTO, ContextLimits, PlanRequest, context_limits


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates that a request allows, from the best to the smallest, and the chosen one, if any fits.

    `precision` and `device` are the requested values, or `auto`. `gguf` is the GGUF of the same model on the
    CPU, for comparison, if the catalogue has one.
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
        """Whether the candidates are on GPUs. If not, they are on the CPU."""
        return bool(self.all[0].place.gpus)

    def evaluate(self, value: str, place: Place) -> Candidate:
        """Return the candidate for a value of --precision at a place."""
        return evaluate(self.model, precision.resolve(self.model, value, place.gpus), place, self.limits)


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
    groups = _gpu_groups(hardware, model, device)
    exact = ":" in device  # `cuda:0+1` names the GPUs, all of which must be used
    found: list[Candidate] = []
    for tried in precision.values_to_try(model, value, on_cpu=not groups):
        for gpus in groups:
            found += _on_gpus(model, tried, gpus, limits, exact=exact)
        if not groups:
            found.append(evaluate(model, precision.resolve(model, tried, ()), cpu_place(hardware), limits))
    if not found:
        raise _unsupported(model, value, groups[0][0])
    return Candidates(
        model, tuple(found), _best(found, limits), limits, value, device, _gguf(hardware, model)
    )


def _gpu_groups(hardware: Hardware, model: ModelFacts, device: str) -> list[list[Gpu]]:
    """Return the GPUs that a model may use. The build of llama.cpp in hermes supports only the CPU."""
    if model.format is not WeightFormat.GGUF:
        return devices.gpu_groups(hardware, device)
    if device not in (AUTO, CPU):
        raise UsageError(
            f"{model.name} is a GGUF, and the llama.cpp in hermes runs only on the CPU",
            "omit --device and the setting 'device'; 16-bit weights can run on a GPU",
        )
    return []


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
        return evaluate(model, precision.resolve(model, value, some), gpu_place(some), limits)

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
    """Return the candidate of a model's GGUF variant on the CPU, or None if the catalogue has none."""
    entry = None if model.format is WeightFormat.GGUF else entry_for(model.repo, model.name)
    if entry is None:
        return None
    gguf = facts_of_variant(entry, entry.default)
    limits = context_limits(gguf, None)
    return evaluate(gguf, precision.resolve(gguf, AUTO, ()), cpu_place(hardware), limits)
