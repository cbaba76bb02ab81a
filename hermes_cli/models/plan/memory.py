"""Computes the memory for weights, KV cache and headroom, and the longest context that fits.

Sources of the numbers:

- NF4 with double quantization: 4 bits per weight, an 8-bit scale per 64 weights, and a 32-bit scale per 256
  of those scales: 4 + 8/64 + 32/(64 * 256) = 4.127 (source: the QLoRA paper, arXiv 2305.14314, section 3).
- LLM.int8: 8 bits per weight, and a 32-bit scale per row of at least 1,000 weights.
- Both apply only to the matrices in the blocks. The embeddings, the head and the norms stay in 16 bits.
- Headroom on a GPU: torch's CUDA context and kernels take 0.3 to 0.5 GiB, and the work buffers for a
  512-token prefill of a 7B model take about 0.1 GiB. The allocator leaves gaps. For larger models, a tenth of
  the weights is reserved instead, because their buffers grow with the width.
- Headroom in main memory: a tenth of the weights for work buffers, and half a GiB for other programs.
  transformers needs another half GiB: torch and transformers take 0.33 GiB after import (measured with torch
  2.13), and Python and the tokenizer take the rest.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.plan.context import CONTEXT_STEP, ContextLimits
from hermes_cli.models.plan.devices import Place
from hermes_cli.models.plan.precision import INT8, NF4, Precision
from hermes_cli.models.units import GIB, gib

LINEAR_BITS: Final = {NF4: 4.127, INT8: 8.032}
HEADROOM: Final = 0.1
GPU_RESERVE: Final = int(0.6 * GIB)
CPU_RESERVE: Final = {"llama.cpp": GIB // 2, "transformers": GIB}
KV_BYTES_OF_16: Final = {"f16": 32, "q8_0": 17}
"""The bytes of 16 elements of K or V. In q8_0, 32 8-bit elements share a 16-bit scale."""
_MAX_LAYERS: Final = 1 << 13  # more than any model has


@dataclass(frozen=True)
class Candidate:
    """A way to run a model: a precision and the devices. Sizes are in bytes, for `context_size` tokens.

    `max_context` is the longest context in tokens that fits, up to the target. `fits` is true if that is long
    enough; if not, `context_size` is the target. `reason` explains why the candidate was chosen or not.
    """

    model: ModelFacts
    precision: Precision
    place: Place
    context_size: int
    kv_type: str = "f16"
    max_context: int = 0
    fits: bool = False
    reason: str = ""
    chosen: bool = False

    @property
    def weight_bytes(self) -> int:
        """The size of the weights."""
        return self._block_bytes + self._other_bytes

    @property
    def kv_bytes(self) -> int:
        """The size of the KV cache on the devices of `place`."""
        return self.all_kv_bytes

    @property
    def all_kv_bytes(self) -> int:
        """The size of the whole KV cache, including any part that is not on these devices."""
        size = self.context_size * self.model.kv_bytes_per_token
        return size * KV_BYTES_OF_16[self.kv_type] // 32 * (2 if self._is_float32 else 1)

    @property
    def headroom_bytes(self) -> int:
        """The memory to leave free for buffers and other programs, over all devices."""
        count = len(self.place.free)
        evenly = tuple((self.model.layers + count - 1 - i) // count for i in range(count))
        weights = zip(self._end_bytes, self.layers or evenly, strict=True)
        return sum(self._headroom(end + n * self._layer_bytes) for end, n in weights)

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of the devices in the engine."""
        return self.place.devices

    @property
    def memory_needed(self) -> int:
        """The weights, the KV cache and the headroom together."""
        return self.weight_bytes + self.kv_bytes + self.headroom_bytes

    @property
    def memory_available(self) -> int:
        """The free memory of all devices together."""
        return self.place.memory_available

    @property
    def misfit(self) -> str:
        """A short clause that explains why the candidate does not fit."""
        short = self.memory_needed - self.memory_available
        return f"{gib(short)} GiB short" if short > 0 else "the layers cannot be split to fit"

    @property
    def memory_parts(self) -> str:
        """The parts of `memory_needed`, as text in GiB."""
        return (
            f"{gib(self.weight_bytes)} weights + {gib(self.kv_bytes)} KV cache "
            f"+ {gib(self.headroom_bytes)} headroom"
        )

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The number of layers on each device, or empty if the layers and their KV cache do not fit.

        A layer is never split between devices. The embeddings are on the first device and the head on the
        last, or both on the first if they share a matrix. Each device gets layers in proportion to the number
        that would fit on it.
        """
        count = self.model.layers
        capacities = [
            self._layers_in(free, end) for free, end in zip(self.place.free, self._end_bytes, strict=True)
        ]
        if any(n < 0 for n in capacities) or sum(min(n, count) for n in capacities) < count:
            return ()
        shares = [count * n // sum(capacities) for n in capacities]
        for _ in range(count - sum(shares)):
            emptiest = max(range(len(capacities)), key=lambda i: capacities[i] - shares[i])
            shares[emptiest] += 1
        return tuple(shares)

    @property
    def _is_float32(self) -> bool:
        return self.precision.dtype == "float32"

    @property
    def _block_bytes(self) -> int:
        """The bytes of the blocks' weight matrices, which can be quantized."""
        if self.precision.stored:
            return max(0, self.model.weight_bytes - self._other_bytes)
        bits = LINEAR_BITS.get(self.precision.quantization, 32 if self._is_float32 else 16)
        return int(self.model.linear_parameters * bits / 8)

    @property
    def _other_bytes(self) -> int:
        """The bytes of the parameters that are never quantized: embeddings, head and norms."""
        others = max(0, self.model.parameters - self.model.linear_parameters)
        return others * (4 if self._is_float32 else 2)

    @property
    def _layer_bytes(self) -> float:
        return self._block_bytes / self.model.layers

    @property
    def _end_bytes(self) -> list[float]:
        """The unquantized bytes on each device: the embeddings on the first, and the head on the last."""
        ends = [0.0] * len(self.place.free)
        ends[0] += self._other_bytes if self.model.is_tied else self._other_bytes / 2
        ends[-1] += 0 if self.model.is_tied else self._other_bytes / 2
        return ends

    def _headroom(self, weights: float) -> int:
        share = int(weights * HEADROOM)
        return max(share, GPU_RESERVE) if self.place.gpus else share + CPU_RESERVE[self.model.engine]

    def _layers_in(self, free: int, end: float) -> int:
        """Return how many layers fit in `free` bytes along with `end` bytes, or -1 if `end` does not fit."""

        def needed(count: int) -> float:
            weights = end + count * self._layer_bytes
            return weights + count * self.kv_bytes / self.model.layers + self._headroom(weights)

        return bisect_right(range(_MAX_LAYERS), float(free) - 1, key=needed) - 1  # one byte for rounding


def evaluate(candidate: Candidate, limits: ContextLimits) -> Candidate:
    """Return the candidate with the longest context that fits, up to the target of `limits`."""
    candidate = replace(candidate, context_size=limits.target)
    longest = _longest_context(candidate)
    if longest < limits.least:
        return replace(candidate, max_context=longest)
    return replace(candidate, context_size=longest, max_context=longest, fits=True)


def _longest_context(candidate: Candidate) -> int:
    """Return the longest context that fits: the candidate's own size, or a multiple of CONTEXT_STEP."""
    if candidate.layers:
        return candidate.context_size

    def is_too_long(size: int) -> bool:
        return not replace(candidate, context_size=size).layers

    sizes = range(CONTEXT_STEP, candidate.context_size, CONTEXT_STEP)
    return CONTEXT_STEP * bisect_left(sizes, 1, key=is_too_long)
