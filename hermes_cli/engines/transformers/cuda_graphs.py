"""Decoding ahead of the host: a step is recorded once, verified, and then replayed on the device.

A 7B model on a GPU computes a token faster than Python launches its kernels and waits for the id. Steps past
the end of an answer are discarded (`flight.py`).
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from hermes_cli.engines.transformers.device_sampling import BLOCK, Choice
from hermes_cli.engines.transformers.fixed_step import FixedStep
from hermes_cli.engines.transformers.flight import Flight
from hermes_cli.engines.transformers.kv_cache import RewindableCache
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.engines.transformers.torch_errors import first_line

Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""A function that runs a step once, records it, and returns a function that replays it."""

FIRST_SPAN = 512
"""Smallest number of positions that a recorded step attends to; larger spans are 2, 4, 8… times this."""
CHOICES = 2
"""Number of sampling settings with recorded steps: those of the user, and those of a summary."""
COMPARED = 20
TOLERANCE = {torch.float64: 1e-6, torch.float32: 0.01, torch.float16: 0.05, torch.bfloat16: 0.25}
"""Largest mean difference, in nats, between a recorded and an ordinary step, by dtype.

The difference is that of the log-probabilities of the likeliest ids. The limits are about three times the
difference that was measured between two correct ways of computing (docs/measurements.md).
"""


def recorder(device: torch.device) -> Recorder | None:
    """Return a recorder of CUDA graphs for a GPU, or None for other devices.

    Source: "CUDA Graphs" in PyTorch's notes on CUDA semantics.
    """
    if device.type != "cuda":
        return None
    cuda: Any = torch.cuda
    aside = cuda.Stream(device)

    def record(step: Callable[[], None]) -> Callable[[], None]:
        with _no_waiting(cuda):
            step()
        graph = cuda.CUDAGraph()
        # Restores the current stream: a capture that fails may leave its own stream as the current one.
        with (
            cuda.device(device),
            cuda.stream(cuda.current_stream(device)),
            cuda.graph(graph, stream=aside, capture_error_mode="thread_local"),
        ):
            step()
        replay: Callable[[], None] = graph.replay
        return replay

    return record


@contextlib.contextmanager
def _no_waiting(cuda: Any) -> Iterator[None]:
    """Make operations that wait for the GPU raise: during a capture they break more than the capture."""
    before = cuda.get_sync_debug_mode()
    cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        cuda.set_sync_debug_mode(before)


def why_not(model: Any) -> str:
    """Return the reason why a model cannot decode ahead, or "" if it can."""
    if len(set((getattr(model, "hf_device_map", None) or {"": ""}).values())) > 1:
        return "the model lies on several devices"
    if getattr(model, "is_loaded_in_8bit", False):
        return "bitsandbytes' 8-bit layers wait for the host"
    return ""


@dataclass(frozen=True, slots=True)
class Before:
    """An ordinary step, taken before decoding ahead: the id that it evaluated, its position, its logits."""

    token: int
    position: int
    logits: torch.Tensor


class Ahead:
    """The recorded steps of one model and one cache. `reason` is why it cannot decode ahead, or empty."""

    def __init__(self, model: Any, cache: RewindableCache, limit: int, record: Recorder) -> None:
        self.reason = why_not(model)
        self._model = model
        self._cache = cache
        self._limit = limit
        self._record = record
        self._step: FixedStep | None = None
        self._recorded: dict[Choice, dict[int, Callable[[], None]]] = {}

    @torch.inference_mode()
    def begin(
        self, before: Before, token: int, sampler: Sampler, history: History, steps: int
    ) -> Flight | None:
        """Start to decode at most `steps` ids after `token`, which follows `before` and is not evaluated yet.

        A step that is not recorded yet is recorded now. Return None, and set `reason`, if the device cannot
        record it, or if the recorded step gives other logits than `before`.
        """
        if self.reason:
            return None
        position, choice = before.position + 1, sampler.choice
        span = self._span(position)
        try:
            self._step = step = self._step or FixedStep(self._model, self._cache, len(before.logits))
            recorded = self._recordings(choice)
            if span not in recorded:
                recorded[span] = self._proven(step, span, choice, before)
            block, place = divmod(sampler.made, BLOCK)
            step.begin(
                token, position, sampler.seen(history, len(step.seen)), sampler.draws.block(block), place
            )
            return Flight(step, recorded[span], sampler, min(steps, span - position), self.give_up)
        except Exception as error:  # noqa: BLE001 - after any error, ordinary steps still work
            self.give_up(error)
            return None

    def _recordings(self, choice: Choice) -> dict[int, Callable[[], None]]:
        """Return the recorded steps of a choice by span; drop the least recently used choices."""
        recorded = self._recorded.pop(choice, {})
        self._recorded[choice] = recorded
        while len(self._recorded) > CHOICES:
            del self._recorded[next(iter(self._recorded))]
        return recorded

    def _proven(self, step: FixedStep, span: int, choice: Choice, before: Before) -> Callable[[], None]:
        """Record a step and return it, after verifying that it gives the logits of `before`."""
        nothing = torch.zeros_like(step.seen), torch.zeros_like(step.draws)
        states = self._cache.states_at(before.position)
        kept = [state.clone() for state in states]
        try:
            step.begin(before.token, before.position, *nothing, 0)
            recorded = self._record(lambda: step.run(span, choice))
            step.begin(before.token, before.position, *nothing, 0)
            step.logits.fill_(torch.nan)  # else a recording that does nothing would pass
            recorded()
            self._compare(before.logits, step.logits)
        finally:
            for state, own in zip(states, kept, strict=True):
                state.copy_(own)
        return recorded

    def give_up(self, error: Exception) -> None:
        """Stop decoding ahead because of an error, and drop the recorded steps."""
        self.reason = first_line(error)
        self._recorded, self._step = {}, None

    def _span(self, position: int) -> int:
        """Return the number of positions that a recorded step at a position attends to."""
        span = FIRST_SPAN
        while span <= position:
            span *= 2
        return min(span, self._limit)

    def _compare(self, wanted: torch.Tensor, found: torch.Tensor) -> None:
        """Raise ValueError if the probabilities of the likeliest ids differ by more than TOLERANCE."""
        wanted, found = wanted.log_softmax(-1), found.log_softmax(-1)
        likeliest = torch.cat([one.topk(min(COMPARED, len(one))).indices for one in (wanted, found)])
        apart = float((wanted - found)[likeliest].abs().mean())
        if not apart <= TOLERANCE.get(self._model.dtype, 0):  # `not <=` also catches NaN
            raise ValueError(f"a recorded step gave other logits than an ordinary one, {apart:.2g} nats off")
