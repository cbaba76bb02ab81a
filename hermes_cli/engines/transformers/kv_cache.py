"""A KV cache of two buffers and a length per layer: a rewind only changes the length.

transformers' own classes are unsuitable: DynamicCache copies itself for every token, and a layer with a
sliding window drops the states that a rewind needs (source: transformers 5.23, `cache_utils.py`). Here every
layer stores the whole context, and a sliding layer returns only the last window of it to the model.
"""

from collections.abc import Iterable
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from hermes_cli.errors import ModelUnavailable

FULL, SLIDING = "full_attention", "sliding_attention"
"""transformers' names for the two kinds of attention layers whose only state is keys and values."""
FIRST_CAPACITY = 512
"""Capacity of a new buffer in tokens; it then doubles, up to the context window."""


class RewindableLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """Keys and values of one layer: two buffers (1, heads, capacity, head size), of which `length` are used.

    `limit` is the context window in tokens. A sliding layer attends to the last `window` tokens; for others
    `window` is None. The buffers start at `capacity` tokens and double when they are full.
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
        """Append the states of new tokens, (1, heads, new, head size), and return those to attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        attended, first = self.get_mask_sizes(key_states.shape[-2])
        end = first + attended
        if end > self.keys.shape[-2]:
            capacity = max(end, min(2 * self.keys.shape[-2], self._limit))
            # If memory runs out between the two allocations, neither buffer has changed.
            keys, values = _empty(self.keys, capacity), _empty(self.values, capacity)
            for new, old in (keys, self.keys), (values, self.values):
                new[:, :, : self.length] = old[:, :, : self.length]
            self.keys, self.values = keys, values
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, first:end], self.values[:, :, first:end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of tokens that the next `query_length` ones attend to, and the first position."""
        first = 0 if self.window is None else max(self.length - self.window + 1, 0)
        return self.length + query_length - first, first

    def get_seq_length(self) -> int:
        """Return the number of cached tokens."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1: the engine enforces the context window, not the layer."""
        return -1

    def rewind(self, length: int) -> None:
        """Drop all tokens from position `length` on."""
        self.length = min(self.length, length)

    def states(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of all cached tokens."""
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class RewindableCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """A cache of RewindableLayers, for the argument `past_key_values` of transformers' models."""

    layers: list[RewindableLayer]

    def __init__(self, layers: Iterable[RewindableLayer]) -> None:
        super().__init__(layers=list(layers))

    def rewind(self, length: int) -> None:
        """Drop all tokens from position `length` on in every layer, even if the layers differ in length."""
        for layer in self.layers:
            layer.rewind(length)

    def states_at(self, position: int) -> list[torch.Tensor]:
        """Return views of the keys and values of one token in every layer."""
        buffers = (buffer for layer in self.layers for buffer in (layer.keys, layer.values))
        return [buffer[:, :, position] for buffer in buffers]

    def set_length(self, length: int) -> None:
        """Set the length, after StaticLayers wrote the states of these tokens into the buffers."""
        for layer in self.layers:
            layer.length = length


class StaticLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """The buffers of a RewindableLayer, written at `position`, a tensor (1), and read up to `span`.

    Nothing here depends on a value on the host, so the attention mask must hide later positions.
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
        """Raise NotImplementedError: StaticStep makes the mask."""
        raise NotImplementedError

    def get_seq_length(self) -> int:
        """Raise NotImplementedError: the length is only on the device."""
        raise NotImplementedError

    def get_max_length(self) -> int:
        """Return the span."""
        return self._span


def new_cache(config: Any, limit: int, *, preallocate: bool = False) -> RewindableCache:
    """Return an empty cache of `limit` tokens for a model's config.

    With `preallocate` it allocates the memory for all of them at once, and its buffers keep their addresses.

    Raises ModelUnavailable if the model has states besides keys and values, such as a recurrent state, which
    cannot be rewound.
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
    """Return a buffer of zeros: masked positions must contain finite numbers, too."""
    return like.new_zeros((*like.shape[:-2], capacity, like.shape[-1]))
