"""Decoding ahead of the host: a step is recorded once, proven, and then replayed by the device alone.

A token costs a 7B model on a card less time than Python needs to launch its kernels and to wait for the id.
What the device did past the end of an answer is discarded (`flight.py`).
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from hermes_cli.engines.transformers.choice import BLOCK, Choice
from hermes_cli.engines.transformers.fixed_step import FixedStep
from hermes_cli.engines.transformers.flight import Flight
from hermes_cli.engines.transformers.kv_cache import RewindableCache
from hermes_cli.engines.transformers.sampling import History, Sampler

Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes a step, and returns what takes it again. A step that is recorded has run before."""

FIRST_SPAN = 512
"""A step attends to so many places of the context, or to twice, four times… as many."""
COMPARED = 20
TOLERANCE = {torch.float32: 0.01}
TOLERANCE_IN_16_BIT = 0.5
"""Nats by which the log-probabilities of the likeliest ids may differ from those of a step by itself."""


def recorder(device: torch.device) -> Recorder | None:
    """Return what records steps on a card, as CUDA graphs that share their memory; None on other devices.

    Source: "CUDA Graphs" in PyTorch's notes on CUDA semantics.
    """
    if device.type != "cuda":
        return None
    pool = torch.cuda.graph_pool_handle()

    def record(step: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device), torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):
            step()
        replay: Callable[[], None] = graph.replay
        return replay

    return record


def why_not(model: Any, cache: RewindableCache) -> str:
    """Return why a model cannot decode ahead; nothing where it may."""
    if len(set((getattr(model, "hf_device_map", None) or {"": ""}).values())) > 1:
        return "the model lies on several devices"
    if getattr(model, "is_loaded_in_8bit", False):
        return "bitsandbytes' 8-bit layers wait for the host"
    if len({layer.window for layer in cache.layers} - {None}) > 1:
        return "its layers have windows of several sizes"
    return ""


@dataclass(frozen=True, slots=True)
class Before:
    """A step that was taken by itself: the id that it evaluated, where that stands, and its logits."""

    token: int
    position: int
    logits: torch.Tensor


class Ahead:
    """Records the steps of one model over one cache. `reason` is why not, once something stood in the way."""

    def __init__(self, model: Any, cache: RewindableCache, limit: int, record: Recorder) -> None:
        self.reason = why_not(model, cache)
        self._model = model
        self._cache = cache
        self._limit = limit
        self._record = record
        self._step: FixedStep | None = None
        self._recorded: dict[int, Callable[[], None]] = {}
        self._choice: Choice | None = None

    @torch.inference_mode()
    def begin(
        self, before: Before, token: int, sampler: Sampler, history: History, steps: int
    ) -> Flight | None:
        """Go on from `token`, which is not evaluated yet and stands behind `before`, for `steps` at most.

        What is not recorded yet is recorded now. Return None where the device cannot record it, or where what
        was recorded gives other logits than the step before had: then there is a `reason`.
        """
        if self.reason:
            return None
        position, choice = before.position + 1, sampler.choice
        span = self._span(position)
        try:
            self._step = step = self._step or FixedStep(self._model, self._cache, len(before.logits))
            if choice != self._choice:
                self._choice, self._recorded = choice, {}
            if span not in self._recorded:
                self._recorded[span] = self._proven(step, span, choice, before)
            block, place = divmod(sampler.made, BLOCK)
            step.begin(
                token, position, sampler.seen(history, len(step.seen)), sampler.draws.block(block), place
            )
        except Exception as error:  # noqa: BLE001 - whatever stands in the way, there is the other way
            self.give_up(error)
            return None
        return Flight(step, self._recorded[span], sampler, min(steps, span - position), self.give_up)

    def _proven(self, step: FixedStep, span: int, choice: Choice, before: Before) -> Callable[[], None]:
        """Return a recorded step, after it gave the logits that are known."""

        def run() -> None:
            step.run(span, choice)

        def try_out(take: Callable[[], None]) -> None:
            nothing = torch.zeros_like(step.seen)
            step.begin(before.token, before.position, nothing, torch.zeros_like(step.draws), 0)
            step.logits.fill_(torch.nan)  # a recording that does nothing would leave the right ones
            take()
            self._compare(before.logits, step.logits)

        states = self._cache.states_at(before.position)
        kept = [state.clone() for state in states]
        try:
            with _aside(before.logits.device):
                try_out(run)
            recorded = self._record(run)
            try_out(recorded)
        finally:
            for state, own in zip(states, kept, strict=True):
                state.copy_(own)
        return recorded

    def give_up(self, error: Exception) -> None:
        """Take no further steps, and let go of what was recorded."""
        self.reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        self._recorded, self._step = {}, None

    def _span(self, position: int) -> int:
        """Return how many places of the context a step at a position attends to."""
        span = FIRST_SPAN
        while span <= position:
            span *= 2
        return min(span, self._limit)

    def _compare(self, wanted: torch.Tensor, found: torch.Tensor) -> None:
        """Raise ValueError where the likeliest ids have other probabilities than in a step by itself."""
        wanted, found = wanted.log_softmax(-1), found.log_softmax(-1)
        likeliest = torch.cat([one.topk(min(COMPARED, len(one))).indices for one in (wanted, found)])
        apart = float((wanted - found)[likeliest].abs().max())
        if not apart <= TOLERANCE.get(self._model.dtype, TOLERANCE_IN_16_BIT):  # NaN is not, either
            raise ValueError(f"a recorded step gave other logits than an ordinary one, {apart:.2g} nats off")


@contextlib.contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """Run what is in the block on a stream of its own, as a step has to before it is recorded."""
    if device.type != "cuda":
        yield
        return
    stream: Any = torch.cuda.Stream
    here, aside = torch.cuda.current_stream(device), stream(device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        yield
    here.wait_stream(aside)
