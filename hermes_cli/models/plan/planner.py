"""Chooses the plan for a model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.candidates import Candidates, find_candidates
from hermes_cli.models.plan.devices import cpu_place
from hermes_cli.models.plan.explain import passed_over, reason, verdict
from hermes_cli.models.plan.memory import Candidate
from hermes_cli.models.plan.precision import NF4, problem
from hermes_cli.models.plan.refusal import does_not_fit, smaller_option
from hermes_cli.models.plan.request import AUTO, PlanRequest, thread_count
from hermes_cli.models.units import gib


@dataclass(frozen=True, slots=True)
class Plan:
    """The way to run a model. Sizes are bytes, `context_size` is tokens, `reason` is one sentence.

    `precision` and `device` are for the user. For the engine, `devices` are torch's names, `dtype` is the
    type of the unquantized weights and the KV cache (empty for a GGUF), `quantization` is applied while
    loading (`nf4`, `int8` or empty), and `layers` is the number of layers on each device. `smaller` is a hint
    for the case that memory runs out anyway. `passed_over` gives the memory of a better precision.
    """

    model: str
    engine: str
    path: Path
    precision: str
    device: str
    context_size: int
    threads: int
    weight_bytes: int
    kv_bytes: int
    headroom_bytes: int
    memory_available: int
    reason: str
    devices: tuple[str, ...] = ("cpu",)
    dtype: str = ""
    quantization: str = ""
    layers: tuple[int, ...] = ()
    smaller: str = ""
    passed_over: str = ""
    revision: str | None = None
    considered: tuple[Candidate, ...] = ()

    @property
    def memory_needed(self) -> int:
        """Weights, KV cache and headroom together."""
        return self.weight_bytes + self.kv_bytes + self.headroom_bytes

    @property
    def summary(self) -> str:
        """The plan in one line."""
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.device == "cpu" else ""
        parts = (
            self.model,
            self.precision,
            f"{self.device}{threads}",
            f"needs {gib(self.memory_needed)} GiB, {gib(self.memory_available)} GiB free",
            f"context {self.context_size}",
            self.passed_over,
        )
        return " · ".join(part for part in parts if part)


def choose(hardware: Hardware, model: ModelFacts, request: PlanRequest | None = None) -> Plan:
    """Return the plan for `model` on `hardware`.

    Raises UsageError if a request is impossible on this machine, and DoesNotFit, with all candidates, if the
    free memory is too small for the request, or for the model in any form.
    """
    request = request or PlanRequest()
    threads = thread_count(hardware.physical_cores, request.threads)
    candidates = find_candidates(hardware, model, request)
    considered = tuple(_considered(hardware, candidates))
    chosen = candidates.chosen
    if chosen is None:
        raise does_not_fit(hardware, candidates, request, considered)
    return Plan(
        model=model.name,
        engine=model.engine,
        path=model.path,
        precision=chosen.precision.text,
        device=chosen.place.label,
        context_size=chosen.context_size,
        threads=threads,
        weight_bytes=chosen.weight_bytes,
        kv_bytes=chosen.kv_bytes,
        headroom_bytes=chosen.headroom_bytes,
        memory_available=chosen.memory_available,
        reason=reason(hardware, candidates, chosen, request),
        devices=chosen.place.devices,
        dtype=chosen.precision.dtype,
        quantization=chosen.precision.quantization,
        layers=chosen.layers if model.engine == "transformers" else (),
        smaller=smaller_option(candidates, chosen),
        passed_over=passed_over(candidates, chosen),
        revision=model.revision,
        considered=considered,
    )


def _considered(hardware: Hardware, candidates: Candidates) -> Iterator[Candidate]:
    """Yield the candidates with their verdicts, and alternatives that are never chosen by themselves."""

    def row(candidate: Candidate, alternative: str = "") -> Candidate:
        text = alternative if alternative and candidate.fits else verdict(candidates, candidate)
        return replace(candidate, reason=text, chosen=candidate is candidates.chosen)

    eight_bit = _eight_bit(candidates)
    for candidate in candidates.all:
        if eight_bit and candidate.precision.quantization == NF4:
            yield row(eight_bit, "only on request: --precision 8bit")
            eight_bit = None
        yield row(candidate)
    if eight_bit:
        yield row(eight_bit, "only on request: --precision 8bit")
    if candidates.device == AUTO and candidates.on_gpu:
        yield row(
            candidates.evaluate(candidates.precision, cpu_place(hardware)), "only on request: --device cpu"
        )
    if candidates.gguf:
        yield row(candidates.gguf, f"-m {candidates.gguf.model.name}, on llama.cpp")


def _eight_bit(candidates: Candidates) -> Candidate | None:
    """Return the 8-bit candidate on the chosen GPUs, for comparison if no precision is requested."""
    model, place = candidates.model, (candidates.chosen or candidates.all[0]).place
    if candidates.precision != AUTO or model.format.has_fixed_precision or not place.gpus:
        return None
    if any(problem(model, "8bit", gpu) for gpu in place.gpus):
        return None
    return candidates.evaluate("8bit", place)
