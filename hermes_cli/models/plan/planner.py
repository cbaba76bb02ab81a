"""Chooses how to run a model on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from hermes_cli.errors import UsageError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.candidates import Candidates, find_candidates
from hermes_cli.models.plan.context import trained_context
from hermes_cli.models.plan.devices import cpu_place
from hermes_cli.models.plan.explain import passed_over, reason, verdict
from hermes_cli.models.plan.memory import Candidate
from hermes_cli.models.plan.precision import NF4, problem
from hermes_cli.models.plan.refusal import Smaller, does_not_fit, smaller_option
from hermes_cli.models.plan.request import AUTO, CPU, PlanRequest
from hermes_cli.models.units import gib
from hermes_cli.placement import Placement
from hermes_cli.prompts.format_choice import FormatChoice


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a model. Sizes are in bytes, `context_size` is in tokens, and `reason` is one sentence.

    `precision`, `device` and `gpu_name` are for display. `devices` are the names of the devices in torch
    or llama.cpp. `max_context_size` is the longest context that the model supports. `dtype` is the type of
    the unquantized weights and the KV cache, and empty for a GGUF. `quantization` is applied while
    loading: `nf4`, `int8` or empty. `layers` is the number of layers on each device, `layer_count` the
    number of layers in the model, and `gpus` are the indexes of the GPUs. For a GGUF, the output layer
    counts as a layer, and layers that are not on a GPU are in main memory. `smaller` is an alternative to
    load if memory runs out anyway. `passed_over` states how much memory a better precision would need.
    `prompt_format` is the format of the prompts.
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
    layer_count: int = 0
    gpus: tuple[int, ...] = ()
    gpu_name: str = ""
    kv_type: str = "f16"
    smaller: Smaller | None = None
    passed_over: str = ""
    max_context_size: int = 0
    revision: str | None = None
    considered: tuple[Candidate, ...] = ()
    prompt_format: FormatChoice = field(default_factory=FormatChoice)

    @property
    def memory_needed(self) -> int:
        """The weights, the KV cache and the headroom together."""
        return self.weight_bytes + self.kv_bytes + self.headroom_bytes

    @property
    def gpu_layers(self) -> int:
        """The number of a GGUF's layers on GPUs, including the output layer."""
        return sum(self.layers) if self.gpus and self.engine == "llama.cpp" else 0

    @property
    def rank(self) -> int:
        """The rank among all ways to run a model, from 0 (the best) to 5.

        In order: weights on GPUs as they are stored, weights quantized for GPUs while loading, a GGUF on
        GPUs, a GGUF partly in main memory, a GGUF on the CPU, weights on the CPU.
        """
        if self.engine == "transformers":
            return 5 if self.device == CPU else 0 if self.dtype and not self.quantization else 1
        if not self.gpu_layers:
            return 4
        return 2 if self.gpu_layers == self.layer_count else 3

    @property
    def where(self) -> str:
        """The device to name in a sentence: `the CPU`, `cuda:0 (NVIDIA GeForce RTX 3090)`."""
        layers = f" with {self.gpu_layers} of {self.layer_count} layers" if self.gpu_layers else ""
        return f"{self.gpu_name}{layers}" if self.gpu_name else "the CPU"

    @property
    def placement(self) -> Placement:
        """The planned distribution of the layers."""
        if self.device == CPU:
            return Placement((), 0, self.layer_count)
        used = tuple(name for name, count in zip(self.devices, self.layers, strict=True) if count)
        return Placement(used, sum(self.layers), self.layer_count)

    @property
    def headline(self) -> str:
        """The model, its precision and its device, for the banner of a chat."""
        return f"{self.model} · {self.precision} · {self._device_text}"

    @property
    def _device_text(self) -> str:
        """The device, with the number of threads or of layers."""
        if self.device == CPU:
            detail = f", {self.threads} thread{'s' if self.threads != 1 else ''}"
        elif self.engine == "llama.cpp":
            detail = f", {self.gpu_layers} of {self.layer_count} layers"
        else:
            detail = ""
        return f"{self.device}{detail}"

    @property
    def summary(self) -> str:
        """The plan on one line."""
        parts = (
            self.headline,
            "" if self.kv_type == "f16" else f"KV cache {self.kv_type}",
            f"needs {gib(self.memory_needed)} GiB, {gib(self.memory_available)} GiB free",
            f"context {self.context_size}",
            self.passed_over,
        )
        return " · ".join(part for part in parts if part)


def choose(hardware: Hardware, model: ModelFacts, request: PlanRequest | None = None) -> Plan:
    """Return the plan for `model` on `hardware`.

    Raises UsageError if the request is impossible on this machine, ModelUnavailable if no GPU supports the
    quantization of the weights or the model lacks the prompt format, and DoesNotFit, with all candidates, if
    none of them fits in the free memory.
    """
    request = request or PlanRequest()
    prompt_format = model.templates.choose(request.chat_template)
    threads = _thread_count(hardware.physical_cores, request.threads)
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
        reason=reason(hardware, candidates, chosen, request, prompt_format),
        devices=chosen.devices,
        dtype=chosen.precision.dtype,
        quantization=chosen.precision.quantization,
        layers=chosen.layers if chosen.place.gpus or model.engine == "transformers" else (),
        layer_count=model.layers + (model.engine == "llama.cpp"),
        gpus=tuple(gpu.index for gpu in chosen.place.gpus),
        gpu_name=chosen.place.name if chosen.place.gpus else "",
        kv_type=chosen.kv_type,
        smaller=smaller_option(candidates, chosen, request),
        passed_over=passed_over(candidates, chosen),
        max_context_size=trained_context(model),
        revision=model.revision,
        considered=considered,
        prompt_format=prompt_format,
    )


def _considered(hardware: Hardware, candidates: Candidates) -> Iterator[Candidate]:
    """Yield the candidates with their verdicts, and alternatives that are used only on request."""

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
    is_for_torch = candidates.model.engine == "transformers"
    if is_for_torch and candidates.device == AUTO and candidates.on_gpu and not candidates.on_cpu:
        yield row(
            candidates.evaluate(candidates.precision, cpu_place(hardware)), "only on request: --device cpu"
        )
    if candidates.gguf:
        yield row(candidates.gguf, f"-m {candidates.gguf.model.name}, on llama.cpp")


def _eight_bit(candidates: Candidates) -> Candidate | None:
    """Return the 8-bit candidate on the chosen GPUs, for comparison, if no precision is requested."""
    model, place = candidates.model, (candidates.chosen or candidates.all[0]).place
    if candidates.precision != AUTO or model.format.has_fixed_precision or not place.gpus:
        return None
    if any(problem(model, "8bit", gpu) for gpu in place.gpus):
        return None
    return candidates.evaluate("8bit", place)


def _thread_count(cores: int, requested: int | None) -> int:
    """Return the requested number of threads, or one per core. Raises UsageError if it is below 1."""
    threads = cores if requested is None else requested
    if threads < 1:
        raise UsageError(f"a model cannot run with {threads} threads", "use 1 thread or more")
    return threads
