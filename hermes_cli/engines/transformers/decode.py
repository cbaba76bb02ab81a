"""The decode loop's machine: token ids in, logits out, and what was evaluated once is not evaluated again.

It knows ids, the KV cache and memory. It refuses to know what an id spells. How the next one is chosen it
knows only to hand that on, where the device goes ahead of the host (`ahead.py`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from hermes_cli.engines.transformers.ahead import Ahead, Before, Recorder
from hermes_cli.engines.transformers.faults import freed_memory, is_out_of_memory, named
from hermes_cli.engines.transformers.flight import Flight
from hermes_cli.engines.transformers.kv_cache import RewindableCache, new_cache
from hermes_cli.engines.transformers.sampling import History, Sampler

PREFILL_CHUNK = {"cpu": 128}
"""Tokens evaluated at a time, by device: a cancel waits for that many, and on a CPU they are slow."""
PREFILL_CHUNK_ELSEWHERE = 1024
SMALLEST_CHUNK = 16


class Decoder:
    """A loaded causal language model and the KV cache of the conversation it was last used for.

    `device` is where ids go in, `limit` the context in tokens. `record` is how steps are recorded, where the
    device may go ahead of the host.
    """

    def __init__(self, model: Any, device: torch.device, limit: int, record: Recorder | None = None) -> None:
        self._model = model
        self._body = model.get_decoder()
        self.device = device
        self._limit = limit
        self._record = record
        self._cache: RewindableCache
        self._ahead: Ahead | None
        self._begin_anew()
        self._last_logits: torch.Tensor | None = None
        """Those of the last id, where it was evaluated by a step."""
        self._chunk = PREFILL_CHUNK.get(device.type, PREFILL_CHUNK_ELSEWHERE)
        self.ids: list[int] = []
        self.reused = 0
        """How many ids of the last prompt did not have to be evaluated for it."""

    @property
    def cache(self) -> RewindableCache:
        """The KV cache; it holds the states of `ids`."""
        return self._cache

    def reuse(self, prompt: Sequence[int]) -> int:
        """Go back to where `prompt` leaves what was evaluated, and return how many of its ids are held."""
        same = 0
        for held, wanted in zip(self.ids, prompt, strict=False):
            if held != wanted:
                break
            same += 1
        self.rewind(same)
        self.reused = same
        return same

    def rewind(self, length: int) -> None:
        """Forget all ids from `length` on."""
        self._last_logits = None
        del self.ids[length:]
        self._cache.rewind(length)

    @torch.inference_mode()
    def adopt(self, ids: Sequence[int], states: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Take over the states of `ids`, a pair a layer, from an earlier run. What was held is forgotten."""
        self.rewind(0)
        for layer, block, (keys, values) in zip(self._cache.layers, self._body.layers, states, strict=True):
            device = next(block.parameters()).device  # a model may lie on several cards
            layer.update(keys.to(device), values.to(device))
        self.ids = list(ids)

    def prefill(self, ids: Sequence[int]) -> Iterator[int]:
        """Evaluate `ids` behind those that are held, chunk by chunk; yield how many of them are done.

        Nobody needs to go on to the end. Raises ResourcesExhausted where not even small chunks fit the
        memory, and HermesError where the device fails.
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
            yield max(0, len(self.ids) - end + len(ids))  # where memory ran out, it begins anew

    def step(self, token: int) -> torch.Tensor:
        """Evaluate one id and return the logits of the next, (vocabulary), in float32.

        Where the memory runs out, everything that can be freed is, and it is tried once more. Raises as
        `prefill` does.
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
        """Whether this is a device that can decode ahead of the host."""
        return self._ahead is not None

    @property
    def slower(self) -> str:
        """Why such a device takes a step at a time all the same; nothing where it does not."""
        return self._ahead.reason if self._ahead is not None else ""

    def begin_ahead(self, token: int, sampler: Sampler, history: History, steps: int) -> Flight | None:
        """Let the device decode by itself behind `token`, `steps` ids at most; None where it cannot.

        It only goes on from a step that was taken by itself: which steps those are does not depend on what is
        recorded already, so the same seed gives the same answer again.
        """
        if self._ahead is None or self._last_logits is None:
            return None
        before = Before(self.ids[-1], len(self.ids) - 1, self._last_logits)
        return self._ahead.begin(before, token, sampler, history, steps)

    def evaluated(self, token: int) -> None:
        """Count one more id as evaluated: the device did that by itself."""
        self._last_logits = None
        # The cache first: where Ctrl-C comes between the two, a rewind forgets what it holds beyond the ids.
        self._cache.hold(len(self.ids) + 1)
        self.ids.append(token)

    def close(self) -> None:
        """Free the model's memory. The decoder cannot be used any more."""
        self._model = self._body = self._ahead = self._last_logits = None
        self.ids = []
        self._cache = RewindableCache(())
        freed_memory(self.device)

    def make_room(self) -> None:
        """Give the KV cache's memory back to the device. The next prompt is prefilled from its beginning."""
        self.ids, self.reused, self._last_logits = [], 0, None
        self._begin_anew()
        freed_memory(self.device)

    def _begin_anew(self) -> None:
        record = self._record
        self._cache = new_cache(self._model.config, self._limit, whole=record is not None)
        self._ahead = Ahead(self._model, self._cache, self._limit, record) if record else None

    def _logits(self, token: int) -> torch.Tensor:
        output = self._evaluate(self._model, [token], logits_to_keep=1)
        logits: torch.Tensor = output.logits[0, -1].float()
        self._last_logits = logits
        return logits

    @torch.inference_mode()
    def _evaluate(self, module: Any, ids: Sequence[int], **settings: Any) -> Any:
        """Run the model over `ids`. Where that is broken off, no layer keeps more than the others."""
        self._last_logits = None
        tensor = torch.tensor([list(ids)], device=self.device)
        try:
            output = module(input_ids=tensor, past_key_values=self._cache, use_cache=True, **settings)
        except BaseException as error:  # Ctrl-C among them
            self._cache.rewind(len(self.ids))
            if not isinstance(error, Exception) or is_out_of_memory(error):
                raise
            raise named(error, self.device) from error
        self.ids += ids
        return output
