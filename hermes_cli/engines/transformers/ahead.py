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
from hermes_cli.engines.transformers.faults import first_line
from hermes_cli.engines.transformers.fixed_step import FixedStep
from hermes_cli.engines.transformers.flight import Flight
from hermes_cli.engines.transformers.kv_cache import RewindableCache
from hermes_cli.engines.transformers.sampling import History, Sampler

Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes a step, runs it once, and returns what takes it again."""

FIRST_SPAN = 512
"""A step attends to so many places of the context, or to twice, four times… as many."""
CHOICES = 2
"""Ways to choose an id for which steps are kept: the person's, and that of a summary on the way."""
COMPARED = 20
TOLERANCE = {torch.float64: 1e-6, torch.float32: 0.01, torch.float16: 0.05, torch.bfloat16: 0.25}
"""Nats by which the log-probabilities of the likeliest ids may differ on average from an ordinary step's.

Some three times what was measured between two right ways of computing (docs/measurements.md).
"""


def recorder(device: torch.device) -> Recorder | None:
    """Return what records steps on a card, as CUDA graphs; None on other devices.

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
        # The outer stream is the one that was in force: a capture that fails may leave its own there.
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
    """Have everything raise that waits for the card: a capture would break on it, and take more with it."""
    before = cuda.get_sync_debug_mode()
    cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        cuda.set_sync_debug_mode(before)


def why_not(model: Any) -> str:
    """Return why a model cannot decode ahead; nothing where it may."""
    if len(set((getattr(model, "hf_device_map", None) or {"": ""}).values())) > 1:
        return "the model lies on several devices"
    if getattr(model, "is_loaded_in_8bit", False):
        return "bitsandbytes' 8-bit layers wait for the host"
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
            recorded = self._recordings(choice)
            if span not in recorded:
                recorded[span] = self._proven(step, span, choice, before)
            block, place = divmod(sampler.made, BLOCK)
            step.begin(
                token, position, sampler.seen(history, len(step.seen)), sampler.draws.block(block), place
            )
            return Flight(step, recorded[span], sampler, min(steps, span - position), self.give_up)
        except Exception as error:  # noqa: BLE001 - whatever stands in the way, there is the other way
            self.give_up(error)
            return None

    def _recordings(self, choice: Choice) -> dict[int, Callable[[], None]]:
        """Return what is recorded for a choice, by its span; what was not used longest is let go."""
        recorded = self._recorded.pop(choice, {})
        self._recorded[choice] = recorded
        while len(self._recorded) > CHOICES:
            del self._recorded[next(iter(self._recorded))]
        return recorded

    def _proven(self, step: FixedStep, span: int, choice: Choice, before: Before) -> Callable[[], None]:
        """Return a recorded step, after it gave the logits that are known."""
        nothing = torch.zeros_like(step.seen), torch.zeros_like(step.draws)
        states = self._cache.states_at(before.position)
        kept = [state.clone() for state in states]
        try:
            step.begin(before.token, before.position, *nothing, 0)
            recorded = self._record(lambda: step.run(span, choice))
            step.begin(before.token, before.position, *nothing, 0)
            step.logits.fill_(torch.nan)  # a recording that does nothing would leave the right ones
            recorded()
            self._compare(before.logits, step.logits)
        finally:
            for state, own in zip(states, kept, strict=True):
                state.copy_(own)
        return recorded

    def give_up(self, error: Exception) -> None:
        """Take no further steps, and let go of what was recorded."""
        self.reason = first_line(error)
        self._recorded, self._step = {}, None

    def _span(self, position: int) -> int:
        """Return how many places of the context a step at a position attends to."""
        span = FIRST_SPAN
        while span <= position:
            span *= 2
        return min(span, self._limit)

    def _compare(self, wanted: torch.Tensor, found: torch.Tensor) -> None:
        """Raise ValueError where the likeliest ids have other probabilities than in an ordinary step."""
        wanted, found = wanted.log_softmax(-1), found.log_softmax(-1)
        likeliest = torch.cat([one.topk(min(COMPARED, len(one))).indices for one in (wanted, found)])
        apart = float((wanted - found)[likeliest].abs().mean())
        if not apart <= TOLERANCE.get(self._model.dtype, 0):  # NaN is not, either
            raise ValueError(f"a recorded step gave other logits than an ordinary one, {apart:.2g} nats off")
