"""The error for a model that does not fit in memory, and smaller alternatives to it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from hermes_cli.errors import ResourcesExhausted, UsageError
from hermes_cli.models.catalogue import STARTER, STARTER_BYTES, WeightFormat
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.candidates import Candidates, find_candidates
from hermes_cli.models.plan.context import CONTEXT_STEP, MIN_CONTEXT
from hermes_cli.models.plan.memory import CPU_RESERVE, Candidate, evaluate
from hermes_cli.models.plan.offload import OffloadedCandidate
from hermes_cli.models.plan.precision import NF4, problem, resolve
from hermes_cli.models.plan.request import AUTO, CPU, PlanRequest
from hermes_cli.models.units import GIB, gib


class DoesNotFit(ResourcesExhausted):
    """No candidate fits in the free memory. `considered` lists the candidates."""

    def __init__(self, message: str, hint: str, considered: Sequence[Candidate]) -> None:
        super().__init__(message, hint)
        self.considered = tuple(considered)


def does_not_fit(
    hardware: Hardware, candidates: Candidates, request: PlanRequest, considered: Sequence[Candidate]
) -> DoesNotFit:
    """Return the error for a model that does not fit, with the memory of the smallest candidate and hints."""
    least, model = candidates.limits.least, candidates.model
    smallest = min(
        (replace(candidate, context_size=least) for candidate in candidates.all),
        key=lambda candidate: candidate.memory_needed,
    )
    size = request.context_size
    subject = f"{model.name} with a context of {size:,} tokens" if size else model.name
    even = "even " if len({candidate.precision for candidate in candidates.all}) > 1 else ""
    needed, free = _distinct_gib(smallest.memory_needed, smallest.memory_available)
    message = (
        f"{subject} does not fit {smallest.place.name}: {even}in {smallest.precision.text} it needs "
        f"{needed} GiB for {least:,} tokens ({smallest.memory_parts}), and {free} GiB are free"
    )
    hints = list(_hints(hardware, candidates, request))[:2]
    return DoesNotFit(message, "; or ".join(hints) or _last_hint(hardware, model), considered)


def _distinct_gib(needed: int, free: int) -> tuple[str, str]:
    """Return two sizes in GiB, with three decimals if they look equal with one."""
    if gib(needed) != gib(free):
        return gib(needed), gib(free)
    return f"{needed / GIB:.3f}", f"{free / GIB:.3f}"


class Smaller(NamedTuple):
    """An alternative to load if memory runs out: another `request`, or another `model`.

    `advice` names the option and the memory that it needs. `what` completes the question "Load it …
    instead?".
    """

    advice: str
    what: str
    request: PlanRequest
    model: str | None = None


def smaller_option(candidates: Candidates, chosen: Candidate, request: PlanRequest) -> Smaller | None:
    """Return an alternative that needs less memory than `chosen`, or None if there is none."""
    place, context = chosen.place, chosen.context_size
    if isinstance(chosen, OffloadedCandidate):
        return _fewer_layers(chosen, request)
    can_shrink = not chosen.precision.stored and chosen.precision.quantization != NF4
    if place.gpus and can_shrink and not any(problem(chosen.model, "4bit", gpu) for gpu in place.gpus):
        limits = replace(candidates.limits, target=context)
        precision = resolve(chosen.model, "4bit", place.gpus)
        quantized = evaluate(replace(chosen, precision=precision), limits)
        if quantized.fits:
            advice = f"--precision 4bit needs {gib(quantized.memory_needed)} GiB"
            return Smaller(advice, "in 4-bit", request._replace(precision="4bit"))
    half = context // 2 // CONTEXT_STEP * CONTEXT_STEP
    if half >= MIN_CONTEXT:
        advice = f"--context {half} needs {gib(replace(chosen, context_size=half).memory_needed)} GiB"
        return Smaller(advice, f"with a context of {half:,} tokens", request._replace(context_size=half))
    if candidates.gguf and candidates.gguf.fits:
        name, needed = candidates.gguf.model.name, gib(candidates.gguf.memory_needed)
        advice = f"-m {name} needs {needed} GiB of {candidates.gguf.place.memory_text}"
        return Smaller(advice, f"as {name}", PlanRequest(), name)
    return None


def _fewer_layers(chosen: OffloadedCandidate, request: PlanRequest) -> Smaller:
    """Return the alternative with half as many layers on the GPUs."""
    count = sum(chosen.layers) // 2
    layers = f"with {count} layer{'' if count == 1 else 's'} on {chosen.place.label}"
    what = layers if count else "on the CPU"
    return Smaller(f"--gpu-layers {count}", what, request._replace(gpu_layers=count))


def _hints(hardware: Hardware, candidates: Candidates, request: PlanRequest) -> Iterator[str]:
    """Yield hints about requests that would fit, such as a shorter context or a lower precision."""
    model, gguf = candidates.model, candidates.gguf
    longest = max(candidate.max_context for candidate in candidates.all)
    if request.context_size and longest >= min(MIN_CONTEXT, request.context_size):
        yield f"use --context {longest}"
    if model.format is WeightFormat.GGUF and request.kv is None:
        yield from _hint_if_fits(hardware, model, request._replace(kv="q8_0"), "use --kv q8_0")
    if candidates.precision != AUTO and not model.format.has_fixed_precision:
        yield from _hint_if_fits(hardware, model, request._replace(precision=None), "use --precision {}")
    if request.gpu_layers is not None:
        yield from _hint_if_fits(hardware, model, request._replace(gpu_layers=None), "omit --gpu-layers")
    if candidates.device != AUTO:
        yield from _hint_if_fits(hardware, model, request._replace(device=None), "omit --device")
    if gguf and gguf.fits:
        name, needed, free = gguf.model.name, gib(gguf.memory_needed), gib(gguf.memory_available)
        yield (
            f"use -m {name}, a GGUF that needs {needed} of {free} GiB of free {gguf.place.memory_text} "
            f"('hermes models pull {name}' downloads it)"
        )
    if candidates.all[0].precision.is_half and not candidates.on_gpu:
        for value, advice in (("8bit", "use --precision {}"), ("4bit", "use --precision {} (slow)")):
            yield from _hint_if_fits(hardware, model, request._replace(precision=value), advice)
    if candidates.device == AUTO and candidates.on_gpu and not candidates.on_cpu:
        yield from _hint_if_fits(hardware, model, request._replace(device=CPU), "use --device cpu (slow)")


def _hint_if_fits(hardware: Hardware, model: ModelFacts, request: PlanRequest, advice: str) -> Iterator[str]:
    """Yield a hint if the changed request fits. `{}` in `advice` stands for the value of --precision."""
    try:
        chosen = find_candidates(hardware, model, request).chosen
    except UsageError:
        return
    if chosen is not None and chosen.fits:
        flag, precision = chosen.precision.flag_value, chosen.precision.text
        yield (
            f"{advice.format(flag)}: {precision} on {chosen.place.label} "
            f"needs {gib(chosen.memory_needed)} GiB"
        )


def _last_hint(hardware: Hardware, model: ModelFacts) -> str:
    """Return the hint if no alternative fits: the starter if it would fit, else a smaller model."""
    twice = 2 * STARTER_BYTES
    fits = model.weight_bytes > twice and hardware.memory_available > twice + CPU_RESERVE["llama.cpp"]
    smaller = f"use -m {STARTER.alias}" if fits else "choose a smaller model"
    return f"close other programs, or {smaller}"
