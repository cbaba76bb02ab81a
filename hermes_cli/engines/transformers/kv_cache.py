"""A KV cache with two buffers and a length per layer. A rewind changes only the length.

transformers' own classes are unsuitable: DynamicCache copies all states for every token, and its
sliding-window layers drop states that a rewind needs (source: transformers 5.23, `cache_utils.py`). Here
every layer stores the whole context, and a sliding layer returns only the last window to the model.
"""

from collections.abc import Iterable
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from hermes_cli.errors import ModelUnavailable

FULL, SLIDING = "full_attention", "sliding_attention"
"""transformers' names for the two types of layers whose only states are keys and values."""
FIRST_CAPACITY = 512
"""Initial capacity of a buffer in tokens. It doubles as needed, up to the context window."""


class RewindableLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """The keys and values of `length` tokens in one layer, in two buffers (1, heads, capacity, head size).

    `limit` is the context window in tokens. A sliding layer attends to the last `window` tokens; for other
    layers, `window` is None. The buffers start with `capacity` tokens and double when they are full.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, limit: int, window: int | None = None, capacity: int = FIRST_CAPACITY) -> None:
        super().__init__()
        self._first_capacity = min(capacity, limit)
        self.length = 0
        self.window = window
        self.is_sliding = window is not None
        self._limit = limit

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate the buffers, with the dtype and device of the first states."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (
            _empty(states, self._first_capacity) for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states of new tokens, (1, heads, new, head size). Return the states to attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        attended, first = self.get_mask_sizes(key_states.shape[-2])
        end = first + attended
        if end > self.keys.shape[-2]:
            capacity = max(end, min(2 * self.keys.shape[-2], self._limit))
            # Both are allocated first: if memory runs out, neither buffer has changed.
            keys, values = _empty(self.keys, capacity), _empty(self.values, capacity)
            for new, old in (keys, self.keys), (values, self.values):
                new[:, :, : self.length] = old[:, :, : self.length]
            self.keys, self.values = keys, values
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, first:end], self.values[:, :, first:end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many tokens the next `query_length` tokens attend to, and the position of the first."""
        first = 0 if self.window is None else max(self.length - self.window + 1, 0)
        return self.length + query_length - first, first

    def get_seq_length(self) -> int:
        """Return the number of cached tokens."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1 for no limit: the engine enforces the context window."""
        return -1

    def rewind(self, length: int) -> None:
        """Drop all tokens from position `length` on."""
        self.length = min(self.length, length)

    def states(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of all cached tokens."""
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class RewindableCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """A cache of RewindableLayers, to pass to a transformers model as `past_key_values`."""

    layers: list[RewindableLayer]

    def __init__(self, layers: Iterable[RewindableLayer]) -> None:
        super().__init__(layers=list(layers))

    def rewind(self, length: int) -> None:
        """Drop all tokens from position `length` on in every layer, even if the layers differ in length."""
        for layer in self.layers:
            layer.rewind(length)

    def states_at(self, position: int) -> list[torch.Tensor]:
        """Return views of the keys and values at a position, for every layer."""
        buffers = (buffer for layer in self.layers for buffer in (layer.keys, layer.values))
        return [buffer[:, :, position] for buffer in buffers]

    def set_length(self, length: int) -> None:
        """Set the length of every layer after StaticLayers have written to the buffers."""
        for layer in self.layers:
            layer.length = length


class StaticLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """The buffers of a RewindableLayer, written at `position`, a tensor (1), and read up to `span`.

    The position is known only on the device, so the attention mask must hide the states after it.
    """

    def __init__(self, layer: RewindableLayer, position: torch.Tensor, span: int) -> None:
        super().__init__()
        self.keys, self.values = layer.keys, layer.values
        self.is_initialized = True
        self._position = position
        self._span = span

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the buffers exist already."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the states of one token, (1, heads, 1, head size), and return those of the whole span."""
        self.keys.index_copy_(2, self._position, key_states)
        self.values.index_copy_(2, self._position, value_states)
        return self.keys[:, :, : self._span], self.values[:, :, : self._span]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Raise NotImplementedError: StaticStep builds the mask."""
        raise NotImplementedError

    def get_seq_length(self) -> int:
        """Raise NotImplementedError: the length is known only on the device."""
        raise NotImplementedError

    def get_max_length(self) -> int:
        """Return the span."""
        return self._span


def new_cache(config: Any, limit: int, *, preallocate: bool = False) -> RewindableCache:
    """Return an empty cache for up to `limit` tokens of a model with this config.

    If `preallocate` is true, the first update allocates memory for all of them, so that the addresses of the
    buffers do not change. Raises ModelUnavailable if the model has states other than keys and values, such
    as a recurrent state, because they cannot be rewound.
    """
    window = max(getattr(config, "sliding_window", None) or 0, 0) or None
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = [SLIDING if window else FULL] * int(config.num_hidden_layers)
    if unsupported := sorted(set(kinds) - {FULL, SLIDING}):
        raise ModelUnavailable(
            f"the model has layers of type '{unsupported[0]}', whose state cannot be rewound",
            "choose a model with attention layers only, such as openhermes-2, or a GGUF file of this model",
        )
    capacity = limit if preallocate else FIRST_CAPACITY
    return RewindableCache(
        RewindableLayer(limit, window if kind == SLIDING else None, capacity) for kind in kinds
    )


def _empty(like: torch.Tensor, capacity: int) -> torch.Tensor:
    """Return a buffer of zeros, because even masked positions must contain finite numbers."""
    return like.new_zeros((*like.shape[:-2], capacity, like.shape[-1]))
