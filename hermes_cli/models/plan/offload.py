"""Computes how many layers of a GGUF fit on the GPUs. The other layers stay in main memory.

llama.cpp offloads the output layer first, and then the other layers from last to first. A layer needs memory
for its weights and its part of the KV cache. Each GPU also needs a compute buffer and a margin:

- Compute buffer: the logits and eight rows of the model's width, in 32-bit floats, for each of BATCH tokens.
  (The starter with a batch of 128 and a context of 2,048 tokens used 3.9 to 4.4 MiB on a GPU; the formula
  gives 26.3 MiB.)
- Margin: 1 GiB for the driver's context and kernels, other programs, and gaps between allocations.

xllamacpp's own `estimate_gpu_layers` is not used, because it needs another package to read the file and
reserves no margin.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from hermes_cli.models.plan.memory import CPU_RESERVE, Candidate
from hermes_cli.models.units import GIB, gib

BATCH: Final = 512
"""The number of tokens in a batch on a GPU."""
MARGIN: Final = GIB
_WIDE_ROWS: Final = 8
_FLOAT_BYTES: Final = 4


@dataclass(frozen=True)
class OffloadedCandidate(Candidate):
    """A way to run a GGUF with layers on GPUs. Sizes include only the parts on the GPUs.

    `gpu_layers` is the requested number of layers on GPUs, or None for as many as fit. The output layer
    counts as a layer of the last GPU.
    """

    gpu_layers: int | Literal["all"] | None = None

    @property
    def layer_count(self) -> int:
        """The number of layers in the model, including the output layer."""
        return len(self.model.layer_bytes) + 1

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The number of layers on each GPU, or empty if the layers do not fit as requested."""
        return self._split if self._others_fit(sum(self._split)) else ()

    @cached_property
    def _split(self) -> tuple[int, ...]:
        """The number of layers on each GPU, even if the other layers do not fit in main memory."""
        split = [0] * len(self.place.free)
        to_place = list(self._layer_sizes[-self._requested_layers :])  # the last one is placed first
        for gpu in reversed(range(len(split))):
            room = self.place.free[gpu] - self._overhead
            while to_place and to_place[-1] <= room:
                room -= to_place.pop()
                split[gpu] += 1
        is_enough = not to_place if self.gpu_layers is not None else sum(split) > 0
        return tuple(split) if is_enough else ()

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of the GPUs in llama.cpp."""
        return tuple(gpu.llama_name for gpu in self.place.gpus)

    @property
    def weight_bytes(self) -> int:
        """The size of the weights on the GPUs."""
        return sum(self._layer_weights[-self._counted_layers :])

    @property
    def kv_bytes(self) -> int:
        """The size of the KV cache on the GPUs."""
        return (self._counted_layers - 1) * self._kv_bytes_of_layer

    @property
    def headroom_bytes(self) -> int:
        """The compute buffers and the margins of all GPUs."""
        return self._overhead * len(self.place.gpus)

    @property
    def misfit(self) -> str:
        """A short clause that explains why the candidate does not fit."""
        if self._split:
            return "other layers exceed free main memory"
        return "not even the output layer fits" if self.gpu_layers is None else super().misfit

    @property
    def split_text(self) -> str:
        """A clause about the number of layers on the GPUs and in main memory."""
        count, label, size = sum(self.layers), self.place.label, gib(self.memory_needed)
        gpus = self.place.gpus
        gpus_text = f"{label} ({gpus[0].name}, {size} GiB)" if len(gpus) == 1 else f"{label} ({size} GiB)"
        parts = f" ({' + '.join(map(str, self.layers))})" if len(gpus) > 1 else ""
        other_layers = self.layer_count - count
        if not other_layers:
            return f"all {count} layers{parts} on {gpus_text}"
        return f"{count} of {self.layer_count} layers{parts} on {gpus_text}, {other_layers} in main memory"

    @property
    def _requested_layers(self) -> int:
        return self.gpu_layers if isinstance(self.gpu_layers, int) else self.layer_count

    @property
    def _counted_layers(self) -> int:
        """The number of layers included in the sizes: those on GPUs, or the requested ones if none fit."""
        return sum(self.layers) or self._requested_layers

    @cached_property
    def _layer_weights(self) -> tuple[int, ...]:
        return (*self.model.layer_bytes, self.model.output_bytes)

    @cached_property
    def _layer_sizes(self) -> tuple[int, ...]:
        kv = self._kv_bytes_of_layer
        return (*(size + kv for size in self.model.layer_bytes), self.model.output_bytes)

    @property
    def _kv_bytes_of_layer(self) -> int:
        return self.all_kv_bytes // max(1, self.model.layers)

    @property
    def _overhead(self) -> int:
        """The size of the compute buffer and the margin of one GPU."""
        floats = BATCH * (self.model.vocabulary + _WIDE_ROWS * self.model.width)
        return floats * _FLOAT_BYTES + MARGIN

    def _others_fit(self, offloaded: int) -> bool:
        """Return whether the other layers and the embeddings fit in main memory."""
        blocks = max(0, offloaded - 1)
        on_gpu = sum(self.model.layer_bytes[len(self.model.layer_bytes) - blocks :])
        needed = self.model.weight_bytes - on_gpu + self.all_kv_bytes - blocks * self._kv_bytes_of_layer
        if self.place.gpus[0].shares_memory:
            needed += sum(self._layer_sizes[-offloaded:]) + self._overhead if offloaded else 0
        return needed + CPU_RESERVE["llama.cpp"] <= self.place.main_memory
