"""Prefill and decode: evaluate a prompt, then generate token ids one at a time, with a KV cache."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch

from hermes_cli.engines.base import common_prefix
from hermes_cli.engines.transformers.cuda_graphs import Capture, GraphDecoder, GraphReplays
from hermes_cli.engines.transformers.kv_cache import RewindableCache, new_cache
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.engines.transformers.torch_errors import (
    NonFiniteLogits,
    free_memory,
    hermes_error,
    is_out_of_memory,
)

CHUNK_SIZE = 1024
CPU_CHUNK_SIZE = 128
"""Tokens that a prefill evaluates at a time: fewer on a CPU, because a cancel waits for the chunk to end."""
MIN_CHUNK_SIZE = 16
MATCH_LENGTH = 3
"""Number of ids that must occur earlier for a draft."""
MIN_DRAFT, MAX_DRAFT = 2, 16
"""Lengths of a draft. An accepted draft doubles the length of the next one; a rejected one resets it."""


class Decoder:
    """A causal language model with the KV cache of the most recent conversation.

    `device` is the device of the input ids, and `limit` the context window in tokens. If `capture` is given,
    decode steps are captured as CUDA graphs. `ids` are the ids whose states are in `cache`.
    """

    cache: RewindableCache
    graphs: GraphDecoder | None

    def __init__(self, model: Any, device: torch.device, limit: int, capture: Capture | None = None) -> None:
        self.device = device
        self.ids: list[int] = []
        self.cached_tokens = 0
        """The number of ids of the last prompt that were already in the KV cache."""
        self.last_logits: torch.Tensor | None = None
        """The logits of the last step if it was an eager decode step, or None."""
        self._drafted: deque[tuple[int, torch.Tensor]] = deque()
        """The drafted ids whose states follow those of `ids` in the cache, with the logits after each."""
        self._model = model
        self._body = model.get_decoder()
        self._limit = limit
        self._capture = capture
        self._chunk_size = CPU_CHUNK_SIZE if device.type == "cpu" else CHUNK_SIZE
        self._new_cache()

    def clear(self) -> None:
        """Free the memory of the KV cache. The next prompt is prefilled from its beginning."""
        self.ids, self.cached_tokens, self.last_logits = [], 0, None
        self._drafted.clear()
        self._new_cache()
        free_memory(self.device)

    def rewind(self, length: int) -> None:
        """Drop all ids from position `length` on."""
        self.last_logits = None
        self._drafted.clear()
        del self.ids[length:]
        self.cache.rewind(len(self.ids))

    def rewind_to_prefix(self, prompt: Sequence[int]) -> int:
        """Drop all ids after the common prefix with `prompt`, and return the prefix's length."""
        self.cached_tokens = common_prefix(self.ids, prompt)
        self.rewind(self.cached_tokens)
        return self.cached_tokens

    @torch.inference_mode()
    def load_states(self, ids: Sequence[int], states: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Replace the contents of the KV cache with the keys and values of `ids`, one pair per layer."""
        self.rewind(0)
        for layer, block, (keys, values) in zip(self.cache.layers, self._body.layers, states, strict=True):
            device = next(block.parameters()).device  # a model may be split over several GPUs
            layer.update(keys.to(device), values.to(device))
        self.ids = list(ids)

    def prefill(self, ids: Sequence[int]) -> Iterator[int]:
        """Evaluate `ids` after the cached ids in chunks. After each chunk, yield the number of evaluated ids.

        The caller may stop the iteration at any time. Raises ResourcesExhausted if even the smallest chunks
        do not fit in memory, and HermesError if the device fails.
        """
        prompt = [*self.ids, *ids]
        start = len(self.ids)
        while len(self.ids) < len(prompt):
            chunk = prompt[len(self.ids) : len(self.ids) + self._chunk_size]
            try:
                self._forward(self._body, chunk)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.clear()
                if self._chunk_size <= MIN_CHUNK_SIZE:
                    raise hermes_error(error, self.device) from error
                self._reduce_chunk_size()
            yield max(0, len(self.ids) - start)  # negative if running out of memory emptied the cache

    def decode(self, token: int, draft: Sequence[int] = (), *, retry: bool = True) -> torch.Tensor:
        """Evaluate one id and return the logits for the next id, a float32 tensor (vocabulary).

        The ids of `draft`, a guess of the following ids, are evaluated in the same forward pass. Later calls
        with these ids return the logits of that pass.

        If memory runs out and `retry` is true, free memory and try once more. Raises the errors of
        `prefill`.
        """
        if self.has_drafted(token):
            self.ids.append(token)
            return self._drafted.popleft()[1]
        self.rewind(len(self.ids))
        try:
            count = 1 + len(draft)
            output = self._forward(self._model, [token, *draft], logits_to_keep=count)
            logits: torch.Tensor = output.logits[0, 0].float()
            if draft:
                del self.ids[-len(draft) :]
                self._drafted.extend(zip(draft, output.logits[0, 1:].float(), strict=True))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if not retry:
                self.clear()
                raise hermes_error(error, self.device) from error
        else:
            self.last_logits = logits
            return logits
        self._reduce_chunk_size()
        self.prefill_again()
        return self.decode(token, retry=False)

    def prefill_again(self) -> None:
        """Evaluate all ids again, with a new KV cache."""
        ids = self.ids
        self.clear()
        for _ in self.prefill(ids):
            pass

    def append_replayed(self, token: int) -> None:
        """Append an id that a graph replay has evaluated."""
        self.last_logits = None
        # Extend the cache first: if Ctrl-C arrives between the two steps, a rewind drops the extra state.
        self.cache.set_length(len(self.ids) + 1)
        self.ids.append(token)

    def has_drafted(self, token: int) -> bool:
        """Return whether this id is the next one of the draft."""
        return bool(self._drafted) and self._drafted[0][0] == token

    @property
    def drafted_count(self) -> int:
        """The number of drafted ids that are not confirmed yet."""
        return len(self._drafted)

    def close(self) -> None:
        """Free the model's memory. The decoder cannot be used afterwards."""
        self._model = self._body = self.graphs = self.last_logits = None
        self.ids = []
        self.cache = RewindableCache(())
        free_memory(self.device)

    def _new_cache(self) -> None:
        capture = self._capture
        self.cache = new_cache(self._model.config, self._limit, preallocate=capture is not None)
        self.graphs = GraphDecoder(self._model, self.cache, self._limit, capture) if capture else None

    def _reduce_chunk_size(self) -> None:
        self._chunk_size = max(MIN_CHUNK_SIZE, self._chunk_size // 4)

    @torch.inference_mode()
    def _forward(self, module: Any, ids: Sequence[int], **settings: Any) -> Any:
        """Evaluate `ids`. If an error interrupts this, rewind every layer of the cache to the same length."""
        self.last_logits = None
        tensor = torch.tensor([list(ids)], device=self.device)
        try:
            output = module(input_ids=tensor, past_key_values=self.cache, use_cache=True, **settings)
        except BaseException as error:  # including Ctrl-C
            self.cache.rewind(len(self.ids))
            if not isinstance(error, Exception) or is_out_of_memory(error):
                raise
            raise hermes_error(error, self.device) from error
        self.ids += ids
        return output


class TokenGenerator:
    """Generates at most `limit` ids after `history`.

    The decoder must already hold all ids of `history` except the last. The caller must append each
    generated id to `history`. With `lookup`, ids that followed an earlier copy of the last ids are evaluated
    as a draft, except with CUDA graphs.
    """

    def __init__(
        self, decoder: Decoder, sampler: Sampler, history: History, limit: int, *, lookup: bool = False
    ) -> None:
        self._decoder = decoder
        self._sampler = sampler
        self._history = history
        self._end = len(history.ids) + limit
        self._lookup = lookup
        self._draft_length = MIN_DRAFT
        self._drafting = False
        self._replays: GraphReplays | None = None

    @property
    def no_graphs_reason(self) -> str:
        """The reason why a device that supports CUDA graphs decodes without them, or ""."""
        if self._decoder.graphs is None:
            return ""
        if self._sampler.needs_host:
            return "DRY and 'ban' run on the CPU"
        return self._decoder.graphs.disabled_reason

    def next(self, banned: Collection[int] = ()) -> int:
        """Return the next id, which is not in `banned`.

        Raises ResourcesExhausted if memory runs out, and HermesError if the device fails or the logits are
        not finite.
        """
        last = self._history.ids[-1]
        token = self._replay()
        if token is not None:
            self._decoder.append_replayed(last)
            return token
        try:
            return self._sampler.sample(self._decoder.decode(last, self._draft()), self._history, banned)
        except NonFiniteLogits:
            self._decoder.clear()  # the cached states are not finite, either
            raise

    def _draft(self) -> list[int]:
        """Return a draft: the ids that followed the latest earlier copy of the last ids."""
        decoder, history = self._decoder, self._history
        if not self._lookup or decoder.has_drafted(history.ids[-1]):
            return []
        if self._drafting:
            accepted = not decoder.drafted_count
            self._draft_length = min(2 * self._draft_length, MAX_DRAFT) if accepted else MIN_DRAFT
        if decoder.graphs is not None and not self.no_graphs_reason:
            return []
        draft = history.continuation(MATCH_LENGTH, self._draft_length)[: self._end - len(history.ids) - 1]
        self._drafting = bool(draft)
        return draft

    def _replay(self) -> int | None:
        """Return the next id from a graph replay, or None if an eager step is needed.

        The first replay follows an eager step. Whether a step is eager does not depend on which steps are
        already captured, so the same seed always gives the same answer.
        """
        decoder, history = self._decoder, self._history
        if self._replays is None and not self._sampler.needs_host:
            graphs, logits = decoder.graphs, decoder.last_logits
            if graphs is not None and logits is not None:
                self._replays = graphs.start(history, logits, self._sampler, self._end - len(history.ids))
        if self._replays is None:
            return None
        finite = True
        try:
            token = self._replays.next()
        except NonFiniteLogits:
            token, finite = None, False
        if token is None:
            self._replays = None
        if not finite:
            # An unread replay may have left NaN in the KV cache, and the attention mask does not hide NaN.
            # A new prefill and an eager step show whether the logits really are not finite. The exception
            # and the replays reference the old KV cache, so they are dropped before the prefill.
            decoder.prefill_again()
        return token
