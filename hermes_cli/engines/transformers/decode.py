"""Decoding: prefill, the next token, and the KV cache of the most recent conversation."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch

from hermes_cli.engines.transformers.cuda_graphs import (
    NOT_FINITE,
    GraphDecoder,
    GraphRecorder,
    InFlightSteps,
    OrdinaryStep,
)
from hermes_cli.engines.transformers.kv_cache import RewindableCache, new_cache
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.engines.transformers.torch_errors import NotFinite, freed_memory, is_out_of_memory, named

PREFILL_CHUNK = {"cpu": 128}
"""Tokens evaluated at a time, by device: a cancel waits for one chunk, and a CPU is slow."""
PREFILL_CHUNK_ELSEWHERE = 1024
SMALLEST_CHUNK = 16


class Decoder:
    """A loaded causal language model and the KV cache of its most recent conversation.

    `device` is the device of the input ids, `limit` the context window in tokens. With `record`, which
    records steps, the device may decode ahead of the host.
    """

    def __init__(
        self, model: Any, device: torch.device, limit: int, record: GraphRecorder | None = None
    ) -> None:
        self._model = model
        self._body = model.get_decoder()
        self.device = device
        self._limit = limit
        self._record = record
        self._cache: RewindableCache
        self._ahead: GraphDecoder | None
        self._begin_anew()
        self._last_logits: torch.Tensor | None = None
        """The logits of the last id, if an ordinary step evaluated it."""
        self._chunk = PREFILL_CHUNK.get(device.type, PREFILL_CHUNK_ELSEWHERE)
        self.ids: list[int] = []
        self.reused = 0
        """The number of ids of the last prompt that the KV cache already held."""

    @property
    def cache(self) -> RewindableCache:
        """The KV cache, which holds the states of `ids`."""
        return self._cache

    def reuse(self, prompt: Sequence[int]) -> int:
        """Rewind to the common prefix of `prompt` and the evaluated ids, and return its length."""
        same = 0
        for held, wanted in zip(self.ids, prompt, strict=False):
            if held != wanted:
                break
            same += 1
        self.rewind(same)
        self.reused = same
        return same

    def rewind(self, length: int) -> None:
        """Drop all ids from position `length` on."""
        self._last_logits = None
        del self.ids[length:]
        self._cache.rewind(length)

    @torch.inference_mode()
    def adopt(self, ids: Sequence[int], states: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Replace the cache content by the states of `ids`, one pair per layer, from an earlier run."""
        self.rewind(0)
        for layer, block, (keys, values) in zip(self._cache.layers, self._body.layers, states, strict=True):
            device = next(block.parameters()).device  # a model may be spread over several GPUs
            layer.update(keys.to(device), values.to(device))
        self.ids = list(ids)

    def prefill(self, ids: Sequence[int]) -> Iterator[int]:
        """Evaluate `ids` after the cached ones, chunk by chunk, and yield how many of them are done.

        The caller may stop the iteration at any time. Raises ResourcesExhausted if not even small chunks fit
        in memory, and HermesError if the device fails.
        """
        end = len(self.ids) + len(ids)
        everything = [*self.ids, *ids]
        while len(self.ids) < end:
            chunk = everything[len(self.ids) : min(end, len(self.ids) + self._chunk)]
            try:
                self._evaluate(self._body, chunk)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.make_room()
                if self._chunk <= SMALLEST_CHUNK:
                    raise named(error, self.device) from error
                self._chunk = max(SMALLEST_CHUNK, self._chunk // 4)
            yield max(0, len(self.ids) - end + len(ids))  # after an out-of-memory, all ids are evaluated anew

    def step(self, token: int) -> torch.Tensor:
        """Evaluate one id and return the logits of the next, (vocabulary), in float32.

        If memory runs out, free as much as possible and try once more. Raises as `prefill` does.
        """
        try:
            return self._logits(token)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            held = list(self.ids)
            self.make_room()
            self._chunk = max(SMALLEST_CHUNK, self._chunk // 4)
        for _ in self.prefill(held):
            pass
        try:
            return self._logits(token)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.make_room()
            raise named(error, self.device) from error

    @property
    def can_go_ahead(self) -> bool:
        """Whether the device can decode ahead of the host."""
        return self._ahead is not None

    @property
    def slower(self) -> str:
        """The reason why such a device does not decode ahead, or ""."""
        return self._ahead.reason if self._ahead is not None else ""

    def begin_ahead(self, token: int, sampler: Sampler, history: History, steps: int) -> InFlightSteps | None:
        """Start to decode at most `steps` ids after `token` ahead of the host; None if that is impossible.

        The previous step must be an ordinary one. Which steps are ordinary does not depend on the recordings
        that exist already, so the same seed gives the same answer again.
        """
        if self._ahead is None or self._last_logits is None:
            return None
        before = OrdinaryStep(self.ids[-1], len(self.ids) - 1, self._last_logits)
        return self._ahead.begin(before, token, sampler, history, steps)

    def evaluated(self, token: int) -> None:
        """Count one more id as evaluated, after the device evaluated it ahead of the host."""
        self._last_logits = None
        # The cache first: if Ctrl-C comes between the two, a rewind drops what it holds beyond the ids.
        self._cache.hold(len(self.ids) + 1)
        self.ids.append(token)

    def close(self) -> None:
        """Free the model's memory. The decoder cannot be used afterwards."""
        self._model = self._body = self._ahead = self._last_logits = None
        self.ids = []
        self._cache = RewindableCache(())
        freed_memory(self.device)

    def make_room(self) -> None:
        """Free the memory of the KV cache. The next prompt is prefilled from its beginning."""
        self.ids, self.reused, self._last_logits = [], 0, None
        self._begin_anew()
        freed_memory(self.device)

    def _begin_anew(self) -> None:
        record = self._record
        self._cache = new_cache(self._model.config, self._limit, whole=record is not None)
        self._ahead = GraphDecoder(self._model, self._cache, self._limit, record) if record else None

    def _logits(self, token: int) -> torch.Tensor:
        output = self._evaluate(self._model, [token], logits_to_keep=1)
        logits: torch.Tensor = output.logits[0, -1].float()
        self._last_logits = logits
        return logits

    @torch.inference_mode()
    def _evaluate(self, module: Any, ids: Sequence[int], **settings: Any) -> Any:
        """Evaluate `ids`. If that is interrupted, every layer of the cache is rewound to the same length."""
        self._last_logits = None
        tensor = torch.tensor([list(ids)], device=self.device)
        try:
            output = module(input_ids=tensor, past_key_values=self._cache, use_cache=True, **settings)
        except BaseException as error:  # including Ctrl-C
            self._cache.rewind(len(self.ids))
            if not isinstance(error, Exception) or is_out_of_memory(error):
                raise
            raise named(error, self.device) from error
        self.ids += ids
        return output


class TokenGenerator:
    """A generator of the ids after `history`. The decoder must hold all ids of it but the last.

    The caller appends each id to `history`. `limit` is the largest number of ids.
    """

    def __init__(self, decoder: Decoder, sampler: Sampler, history: History, limit: int) -> None:
        self._decoder = decoder
        self._sampler = sampler
        self._history = history
        self._end = len(history.ids) + limit
        self._flight: InFlightSteps | None = None

    def next(self, banned: Collection[int] = ()) -> int:
        """Return the next id, none of `banned`.

        Raises ResourcesExhausted if memory runs out, and HermesError if the device fails or the logits are
        not finite numbers.
        """
        decoder, sampler, history = self._decoder, self._sampler, self._history
        last = history.ids[-1]
        if self._flight is None and not sampler.needs_words:
            left = self._end - len(history.ids)
            self._flight = decoder.begin_ahead(last, sampler, history, left)
        if self._flight is not None:
            token = self._flight.next()
            if token is not None and token != NOT_FINITE:
                decoder.evaluated(last)
                return token
            self._flight = None
            if token == NOT_FINITE:
                self._evaluate_anew()
        try:
            return sampler.choose(decoder.step(last), history, banned)
        except NotFinite:
            decoder.make_room()  # the cached states are not finite, either
            raise

    def _evaluate_anew(self) -> None:
        """Prefill an empty cache, so that an ordinary step shows whether the logits really are not finite.

        The buffers may have held states that are not finite after the cursor, such as those of a step that
        was never read. An attention mask does not hide NaN.
        """
        self._decoder.make_room()
        for _ in self._decoder.prefill(self._history.ids[:-1]):
            pass
