"""Computes the memory for weights, KV cache and headroom, and the context size that fits.

Sources of the numbers:

- NF4 with double quantization: 4 bits per weight, an 8-bit scale for 64 weights, and a 32-bit scale for 256
  of those scales: 4 + 8/64 + 32/(64 * 256) = 4.127 (source: the QLoRA paper, arXiv 2305.14314, section 3).
- LLM.int8: 8 bits per weight, and a 32-bit scale per row of a thousand weights or more.
- Both apply only to the matrices in the blocks. Embeddings, head and norms stay in 16 bits.
- Headroom on a GPU: torch's CUDA context with its kernels takes 0.3 to 0.5 GiB, the work buffers of a
  512-token prefill of a 7B model about 0.1 GiB, and the allocator leaves gaps. A tenth of the weights is
  reserved for larger models, whose buffers grow with their width.
- Headroom in main memory: torch and transformers take 0.33 GiB after import (measured with torch 2.13), and
  half a GiB with Python and the tokenizer. Another half is left for everything else on the machine.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hermes_cli.models.facts import KV_ELEMENT_BYTES, ModelFacts
from hermes_cli.models.plan.devices import Place
from hermes_cli.models.plan.plan import CONTEXT_STEP, CandidateSizes
from hermes_cli.models.plan.precision import INT8, NF4, Precision
from hermes_cli.models.units import GIB

LINEAR_BITS = {NF4: 4.127, INT8: 8.032}
CARD_RESERVE = int(0.6 * GIB)
CPU_RESERVE = GIB
HEADROOM = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a model: a precision at a place. `room` is the context size in tokens that fits."""

    model: ModelFacts
    precision: Precision
    place: Place
    room: int

    def candidate(self, context: int, *, fits: bool, reason: str = "") -> CandidateSizes:
        """Return this way with its memory use for a context size."""
        weights = weight_bytes(self.model, self.precision)
        split = layers(self.model, self.precision, self.place, context) or _evenly(self.model, self.place)
        return CandidateSizes(
            precision=self.precision.text,
            device=self.place.label,
            context_size=context,
            weight_bytes=weights,
            kv_bytes=context * kv_bytes_per_token(self.model, self.precision),
            headroom_bytes=sum(headrooms(self.model, self.precision, self.place, split)),
            memory_available=self.place.memory_available,
            fits=fits,
            reason=reason,
        )


def weigh(model: ModelFacts, precision: Precision, place: Place, limit: int) -> Candidate:
    """Return a way with the largest context that fits, up to `limit` tokens."""

    def fits(context: int) -> bool:
        return layers(model, precision, place, context) is not None

    return Candidate(model, precision, place, _largest(fits, limit))


def weight_bytes(model: ModelFacts, precision: Precision) -> int:
    """Return the bytes of a model's weights in a precision."""
    return _block_bytes(model, precision) + _other_bytes(model, precision)


def kv_bytes_per_token(model: ModelFacts, precision: Precision) -> int:
    """Return the bytes of KV cache per token."""
    return model.kv_bytes_per_token * _element_bytes(precision) // KV_ELEMENT_BYTES


def layers(model: ModelFacts, precision: Precision, place: Place, context: int) -> tuple[int, ...] | None:
    """Return the number of layers for each GPU, or None if the layers and their KV cache do not fit.

    Layers are not divided. The embeddings are on the first GPU and the head on the last, or both on the first
    if they are the same matrix. The number of layers is proportional to the room on each GPU.
    """
    ends = _ends(model, precision, place)
    layer = _block_bytes(model, precision) / model.layers
    cache = context * kv_bytes_per_token(model, precision) / model.layers
    room = [
        _layers_on(free, end, layer, cache, on_cpu=not place.gpus)
        for free, end in zip(place.free, ends, strict=True)
    ]
    if any(r < 0 for r in room) or sum(min(r, model.layers) for r in room) < model.layers:
        return None
    shares = [model.layers * r // sum(room) for r in room]
    for _ in range(model.layers - sum(shares)):
        emptiest = max(range(len(room)), key=lambda i: room[i] - shares[i])
        shares[emptiest] += 1
    return tuple(shares)


def headrooms(
    model: ModelFacts, precision: Precision, place: Place, split: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the bytes to keep free on each GPU beside its weights and its part of the KV cache."""
    layer = _block_bytes(model, precision) / model.layers
    held = [end + n * layer for end, n in zip(_ends(model, precision, place), split, strict=True)]
    return tuple(_headroom(weights, on_cpu=not place.gpus) for weights in held)


def _headroom(weights: float, *, on_cpu: bool) -> int:
    share = int(weights * HEADROOM)
    return share + CPU_RESERVE if on_cpu else max(share, CARD_RESERVE)


def _layers_on(free: int, end: float, layer: float, cache: float, *, on_cpu: bool) -> int:
    """Return how many layers fit into `free` bytes beside `end`, or -1 if not even `end` fits."""
    if end + _headroom(end, on_cpu=on_cpu) > free:
        return -1
    low, high = 0, 1 << 13  # more layers than any model has
    while low < high:
        middle = (low + high + 1) // 2
        held = end + middle * layer
        if held + middle * cache + _headroom(held, on_cpu=on_cpu) + 1 <= free:  # 1: for rounding
            low = middle
        else:
            high = middle - 1
    return low


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """Return the largest context up to `limit` that fits: `limit` itself, or a multiple of the step."""
    if fits(limit):
        return limit
    low, high = 0, (limit - 1) // CONTEXT_STEP
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * CONTEXT_STEP) else (low, middle - 1)
    return low * CONTEXT_STEP


def _evenly(model: ModelFacts, place: Place) -> tuple[int, ...]:
    count = len(place.free)
    return tuple((model.layers + count - 1 - i) // count for i in range(count))


def _element_bytes(precision: Precision) -> int:
    return 4 if precision.dtype == "float32" else 2


def _block_bytes(model: ModelFacts, precision: Precision) -> int:
    if precision.own:
        return max(0, model.weight_bytes - _other_bytes(model, precision))
    bits = LINEAR_BITS.get(precision.quantization, 8 * _element_bytes(precision))
    return int(model.linear_parameters * bits / 8)


def _other_bytes(model: ModelFacts, precision: Precision) -> int:
    """Return the bytes of the parameters that are never quantized: embeddings, head, norms."""
    return max(0, model.parameters - model.linear_parameters) * _element_bytes(precision)


def _ends(model: ModelFacts, precision: Precision, place: Place) -> list[float]:
    other = _other_bytes(model, precision)
    ends = [0.0] * len(place.free)
    ends[0] += other if model.is_tied else other / 2
    ends[-1] += 0 if model.is_tied else other / 2
    return ends
