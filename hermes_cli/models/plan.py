"""The plan: which engine, precision, device and context a model gets on this machine, and why.

`choose` is a pure function from facts to a Plan: it reads no file and asks no device. It knows llama.cpp on
the CPU; a model that needs another engine is refused with the name of the variant that does not.
"""

from dataclasses import dataclass
from pathlib import Path

from hermes_cli.errors import ModelUnavailable, ResourcesExhausted, UsageError
from hermes_cli.models.catalogue import STARTER, STARTER_BYTES, Format, gguf_spelling_for
from hermes_cli.models.gguf import GgufHeader
from hermes_cli.models.hardware import GIB, MIB, Hardware

DEFAULT_CONTEXT = 8192
"""Tokens. Longer windows cost memory that most conversations never use, so they are asked for."""
CONTEXT_STEP = 256
MIN_CONTEXT = 512
SMALLEST_WISH = 64
"""Below it no prompt fits; at one token llama.cpp aborts the process."""
HEADROOM = 0.1
"""Share of the weights that llama.cpp's work buffers may take."""
RESERVE_BYTES = 512 * MIB
"""Left for hermes itself and for everything else on the machine."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a plan needs to know of a model. Sizes are bytes, `context_length` tokens (0: not known)."""

    name: str
    path: Path
    format: Format
    precision: str
    weight_bytes: int
    context_length: int = 0
    kv_bytes_per_token: int = 0
    repo: str | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for; None leaves the choice to the plan."""

    context_size: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model will be run. Sizes are bytes, `context_size` tokens, `reason` one sentence."""

    model: str
    engine: str
    path: Path
    precision: str
    device: str
    context_size: int
    threads: int
    weight_bytes: int
    kv_bytes: int
    memory_available: int
    reason: str

    @property
    def memory_needed(self) -> int:
        """Weights and KV cache together."""
        return self.weight_bytes + self.kv_bytes

    @property
    def summary(self) -> str:
        """The plan in one line."""
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        memory = f"{_gib(self.memory_needed)} of {_gib(self.memory_available)} GiB free"
        parts = (
            self.model,
            self.precision,
            f"{self.device}, {threads}",
            memory,
            f"context {self.context_size}",
        )
        return " · ".join(part for part in parts if part)


def facts_of(name: str, header: GgufHeader) -> ModelFacts:
    """Return what the plan needs from a GGUF header.

    Raises ModelUnavailable where the file holds no language model that can run by itself.
    """
    if header.split_count > 1:
        raise ModelUnavailable(
            f"{header.path} is one of {header.split_count} parts of a model",
            "join them with 'llama-gguf-split --merge' and name the result",
        )
    if not header.tensors or not header.block_count or not header.context_length:
        what = "a vocabulary without weights" if not header.tensors else f"'{header.architecture}' weights"
        raise ModelUnavailable(
            f"{header.path} holds {what}, not a language model",
            "choose a ChatML model, such as openhermes-2 or the starter",
        )
    return ModelFacts(
        name,
        header.path,
        Format.GGUF,
        header.file_type,
        header.file_size,
        header.context_length,
        header.kv_bytes_per_token,
    )


def choose(hardware: Hardware, model: ModelFacts, wishes: Wishes | None = None) -> Plan:
    """Return the plan for `model` on `hardware`.

    Raises UsageError for a wish that the model cannot grant, ResourcesExhausted for one that the memory
    cannot, and ModelUnavailable for a format that this version does not run.
    """
    wishes = wishes or Wishes()
    if model.format is not Format.GGUF:
        raise _other_engine(model)
    threads = hardware.physical_cores if wishes.threads is None else wishes.threads
    if threads < 1:
        raise UsageError(f"{threads} threads cannot run a model", "give 1 or more")
    room = _context_room(hardware, model)
    if room is not None and room < _smallest_context(model):
        raise _weights_do_not_fit(hardware, model)
    context, reason = _context(model, wishes.context_size, room, hardware)
    return Plan(
        model=model.name,
        engine="llama.cpp",
        path=model.path,
        precision=model.precision,
        device="cpu",
        context_size=context,
        threads=threads,
        weight_bytes=model.weight_bytes,
        kv_bytes=context * model.kv_bytes_per_token,
        memory_available=hardware.memory_available,
        reason=f"a GGUF file runs on llama.cpp with the processor's {_cores(hardware)}; {reason}",
    )


def _context(model: ModelFacts, wish: int | None, room: int | None, hardware: Hardware) -> tuple[int, str]:
    if wish is not None:
        return _wished_context(model, wish, room, hardware), f"the context of {wish:,} tokens was asked for"
    trained = model.context_length
    if room is not None and room < min(trained, DEFAULT_CONTEXT):
        return room, (
            f"a context of {room:,} of the model's {trained:,} tokens is what "
            f"{_gib(hardware.memory_available)} GiB of free memory hold"
        )
    if trained > DEFAULT_CONTEXT:
        return DEFAULT_CONTEXT, f"its context could be {trained:,} tokens long (--context asks for more)"
    return trained, f"its context is all of the {trained:,} tokens it was trained for"


def _wished_context(model: ModelFacts, wish: int, room: int | None, hardware: Hardware) -> int:
    if wish < SMALLEST_WISH:
        raise UsageError(
            f"a context of {wish:,} tokens holds no conversation", f"ask for {MIN_CONTEXT} or more"
        )
    if wish > model.context_length:
        raise UsageError(
            f"{model.name} was trained for a context of {model.context_length:,} tokens, not {wish:,}",
            f"ask for {model.context_length} or less",
        )
    if room is not None and wish > room:
        raise ResourcesExhausted(
            f"a context of {wish:,} tokens needs {_gib(_needed(model, wish))} GiB of memory "
            f"({_sums(model, wish)}), and {_gib(hardware.memory_available)} GiB are free",
            f"a context of {room} would fit",
        )
    return wish


def _context_room(hardware: Hardware, model: ModelFacts) -> int | None:
    """Return how many tokens of KV cache fit beside the weights; None where the model has no KV cache."""
    if model.kv_bytes_per_token <= 0:
        return None if hardware.memory_available >= _needed(model, 0) else 0
    left = hardware.memory_available - _needed(model, 0)
    return max(0, left // model.kv_bytes_per_token // CONTEXT_STEP * CONTEXT_STEP)


def _smallest_context(model: ModelFacts) -> int:
    return min(MIN_CONTEXT, model.context_length // CONTEXT_STEP * CONTEXT_STEP)


def _needed(model: ModelFacts, context: int) -> int:
    return int(model.weight_bytes * (1 + HEADROOM)) + RESERVE_BYTES + context * model.kv_bytes_per_token


def _sums(model: ModelFacts, context: int) -> str:
    cache = context * model.kv_bytes_per_token
    spare = _needed(model, context) - model.weight_bytes - cache
    return f"{_gib(model.weight_bytes)} weights + {_gib(cache)} KV cache + {_gib(spare)} headroom"


def _weights_do_not_fit(hardware: Hardware, model: ModelFacts) -> ResourcesExhausted:
    free = hardware.memory_available
    smallest = _smallest_context(model)
    starter_fits = model.weight_bytes > STARTER_BYTES * 2 and free > STARTER_BYTES * 2 + RESERVE_BYTES
    other = (
        f"the {STARTER.alias} would fit (-m {STARTER.alias})" if starter_fits else "a smaller model may fit"
    )
    return ResourcesExhausted(
        f"{model.name} needs {_gib(_needed(model, smallest))} GiB of memory ({_sums(model, smallest)}), "
        f"and {_gib(free)} GiB are free",
        f"close other programs, or choose a smaller quantisation; {other}",
    )


def _other_engine(model: ModelFacts) -> ModelUnavailable:
    spelling = gguf_spelling_for(model.repo) if model.repo else None
    hint = (
        f"'hermes models pull {spelling}' fetches it as one" if spelling else "look for a GGUF variant of it"
    )
    kind = "" if model.format is Format.SAFETENSORS else f" in {model.format.upper()} form"
    return ModelUnavailable(
        f"{model.name} is a folder of weights{kind}, and this version of hermes runs GGUF files", hint
    )


def _cores(hardware: Hardware) -> str:
    count = hardware.physical_cores
    return f"{count} physical core{'s' if count != 1 else ''}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
