"""The plan for a GGUF file, which runs on llama.cpp on the CPU.

The bundled build of llama.cpp supports only the CPU, so the plan only has to choose the context size.
"""

from typing import Final

from hermes_cli.errors import UsageError
from hermes_cli.models.catalogue import STARTER, STARTER_BYTES, entry_for
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import devices, precision
from hermes_cli.models.plan.plan import (
    CONTEXT_STEP,
    MIN_CONTEXT,
    CandidateSizes,
    DoesNotFit,
    Plan,
    PlanRequest,
    check_context,
    checked_threads,
    context_reason,
    context_target,
)
from hermes_cli.models.units import MIB, gib

HEADROOM: Final = 0.1
"""Share of the weights that llama.cpp's work buffers may take."""
RESERVE_BYTES: Final = 512 * MIB
"""Memory left for hermes and everything else on the machine."""


def choose_gguf(hardware: Hardware, model: ModelFacts, request: PlanRequest) -> Plan:
    """Return the plan for a GGUF. Raises as `plan.choose` does."""
    _check_wishes(model, request)
    threads = checked_threads(hardware.physical_cores, request.threads)
    requested = request.context_size
    room = _context_room(hardware, model, context_target(model, requested))
    if requested is None and room < _smallest_context(model):
        raise _weights_do_not_fit(hardware, model)
    if requested is not None and room < requested:
        raise _context_does_not_fit(hardware, model, requested, room)
    row = candidate(hardware, model, room, fits=True, reason="the one way that a GGUF runs", chosen=True)
    cores = f"{hardware.physical_cores} physical core{'s' if hardware.physical_cores != 1 else ''}"
    return Plan(
        model=model.name,
        engine="llama.cpp",
        path=model.path,
        precision=model.precision,
        device=row.device,
        context_size=room,
        threads=threads,
        weight_bytes=row.weight_bytes,
        kv_bytes=row.kv_bytes,
        headroom_bytes=row.headroom_bytes,
        memory_available=row.memory_available,
        reason=f"a GGUF file runs on llama.cpp with the processor's {cores}; "
        + context_reason(model, requested, room),
        smaller=_smaller(hardware, model, room),
        considered=(row,),
    )


def candidate(
    hardware: Hardware, model: ModelFacts, context: int, *, fits: bool, reason: str = "", chosen: bool = False
) -> CandidateSizes:
    """Return the memory use of a GGUF on the CPU for a context size."""
    return CandidateSizes(
        precision=model.precision,
        device=devices.CPU,
        context_size=context,
        weight_bytes=model.weight_bytes,
        kv_bytes=context * model.kv_bytes_per_token,
        headroom_bytes=int(model.weight_bytes * HEADROOM) + RESERVE_BYTES,
        memory_available=hardware.memory_available,
        fits=fits,
        reason=reason,
        chosen=chosen,
    )


def alternative(hardware: Hardware, model: ModelFacts) -> tuple[str, CandidateSizes] | None:
    """Return the name and the candidate of a model's GGUF variant, or None if the catalogue has none."""
    entry = entry_for(model.repo, model.name)
    if entry is None:
        return None
    gguf = facts_of_variant(entry, entry.default)
    target = context_target(gguf, None)
    room = _context_room(hardware, gguf, target)
    fits = room >= _smallest_context(gguf)
    reason = f"-m {gguf.name}, on llama.cpp" if fits else ""
    return gguf.name, candidate(hardware, gguf, room if fits else target, fits=fits, reason=reason)


def starter_hint(free: int, weight_bytes: int) -> str:
    """Return the last hint for a model that is too large: the starter, if it would fit."""
    fits = weight_bytes > STARTER_BYTES * 2 and free > STARTER_BYTES * 2 + RESERVE_BYTES
    return f"the {STARTER.alias} would fit (-m {STARTER.alias})" if fits else "a smaller model may fit"


def _check_wishes(model: ModelFacts, request: PlanRequest) -> None:
    if devices.check_word(request.device) not in (devices.AUTO, devices.CPU):
        raise UsageError(
            f"{model.name} is a GGUF, and the llama.cpp that comes with hermes computes on the processor",
            "leave --device, or the setting device, out; 16-bit weights run on a GPU",
        )
    precision.check_own(model, precision.check_word(request.precision))
    check_context(model, request.context_size)


def _context_room(hardware: Hardware, model: ModelFacts, limit: int) -> int:
    """Return how many tokens of KV cache fit beside the weights: `limit`, or a smaller multiple of 256."""
    empty = candidate(hardware, model, 0, fits=True)
    left = hardware.memory_available - empty.memory_needed
    if left < 0:
        return 0
    fitting = left // model.kv_bytes_per_token if model.kv_bytes_per_token else limit
    return limit if fitting >= limit else fitting // CONTEXT_STEP * CONTEXT_STEP


def _smallest_context(model: ModelFacts) -> int:
    return min(MIN_CONTEXT, context_target(model, None))


def _smaller(hardware: Hardware, model: ModelFacts, context: int) -> str:
    """Return a hint to halve the context size, or an empty text if that is below MIN_CONTEXT."""
    less = context // 2 // CONTEXT_STEP * CONTEXT_STEP
    if less < MIN_CONTEXT:
        return ""
    return f"--context {less} needs {gib(candidate(hardware, model, less, fits=True).memory_needed)} GiB"


def _weights_do_not_fit(hardware: Hardware, model: ModelFacts) -> DoesNotFit:
    row = candidate(hardware, model, _smallest_context(model), fits=False, reason="too large")
    free = hardware.memory_available
    needed = gib(row.memory_needed)
    return DoesNotFit(
        f"{model.name} needs {needed} GiB of memory ({row.sums}), and {gib(free)} GiB are free",
        f"close other programs, or choose a smaller quantization; {starter_hint(free, model.weight_bytes)}",
        (row,),
    )


def _context_does_not_fit(hardware: Hardware, model: ModelFacts, requested: int, room: int) -> DoesNotFit:
    if room < _smallest_context(model):
        return _weights_do_not_fit(hardware, model)
    row = candidate(hardware, model, requested, fits=False, reason=f"a context of {room:,} would fit")
    return DoesNotFit(
        f"a context of {requested:,} tokens needs {gib(row.memory_needed)} GiB of memory ({row.sums}), "
        f"and {gib(hardware.memory_available)} GiB are free",
        f"a context of {room} would fit",
        (row,),
    )
