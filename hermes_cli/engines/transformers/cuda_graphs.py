"""Decoding with CUDA graphs: a step is recorded once, verified, and then replayed on the device.

A 7B model on a GPU computes a token faster than Python launches its kernels and waits for the id. So steps
are launched before the ids of earlier ones are read; those past the end of an answer are discarded.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache

from hermes_cli.engines.transformers.device_sampling import BLOCK, SamplingStep
from hermes_cli.engines.transformers.kv_cache import FULL, SLIDING, RewindableCache, StaticLayer
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.engines.transformers.torch_errors import first_line

GraphRecorder = Callable[[Callable[[], None]], Callable[[], None]]
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


def graph_recorder(device: torch.device) -> GraphRecorder | None:
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


def unsupported_reason(model: Any) -> str:
    """Return the reason why a model cannot decode ahead, or "" if it can."""
    if len(set((getattr(model, "hf_device_map", None) or {"": ""}).values())) > 1:
        return "the model lies on several devices"
    if getattr(model, "is_loaded_in_8bit", False):
        return "bitsandbytes' 8-bit layers wait for the host"
    return ""


NOT_FINITE = -1
"""Replaces an id that was chosen from logits that are not finite numbers."""


class StaticStep:
    """A step and the tensors that it reads and updates.

    `token` (1, 1) is the id to evaluate, `cursor` (1) its position, `seen` (vocabulary) the mask of the ids
    that occurred, `draws` (BLOCK, 2) the random numbers and `place` (1) the index of the next ones. `chosen`
    (1) is the resulting id, or NOT_FINITE, and `logits` (vocabulary) the logits that it was chosen from.
    """

    def __init__(self, model: Any, cache: RewindableCache, vocabulary: int) -> None:
        self._model = model
        self._cache = cache
        device = cache.layers[0].keys.device
        self.token = torch.zeros((1, 1), dtype=torch.long, device=device)
        self.cursor = torch.zeros(1, dtype=torch.long, device=device)
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        self.draws = torch.zeros((BLOCK, 2), device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.chosen = torch.zeros(1, dtype=torch.long, device=device)
        self.logits = torch.zeros(vocabulary, device=device)

    def begin(self, token: int, position: int, seen: torch.Tensor, block: torch.Tensor, place: int) -> None:
        """Make the next step evaluate `token` at `position` and use draw number `place` of a block."""
        self.token.fill_(token)
        self.cursor.fill_(position)
        self.seen.copy_(seen)
        self.draw_from(block, place)

    def draw_from(self, block: torch.Tensor, place: int) -> None:
        """Make the next step use draw number `place` of a block."""
        self.draws.copy_(block)
        self.place.fill_(place)

    @torch.inference_mode()
    def run(self, span: int, choice: SamplingStep) -> None:
        """Run one step. It attends to the first `span` positions, which must include the cursor."""
        output = self._model(
            input_ids=self.token,
            attention_mask=self._masks(span),
            position_ids=self.cursor[None],
            past_key_values=Cache(layers=[StaticLayer(one, self.cursor, span) for one in self._cache.layers]),
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits.copy_(output.logits[0, -1])
        draw = self.draws.index_select(0, self.place)[0]
        token = choice.chosen(choice.penalized(self.logits, self.seen), draw)
        finite = torch.isfinite(self.logits).all()
        self.chosen.copy_(torch.where(finite, token, NOT_FINITE)[None])
        self.token.copy_(token[None, None])
        self.seen.index_fill_(0, token[None], value=True)
        self.cursor.add_(1)
        self.place.add_(1)

    def _masks(self, span: int) -> Any:
        """Return the attention mask, (1, 1, 1, span), or one mask for each kind of layer."""
        places = torch.arange(span, device=self.cursor.device)
        past = places <= self.cursor
        masks: dict[str, torch.Tensor] = {}
        for layer in self._cache.layers:
            visible = past if layer.window is None else past & (places > self.cursor - layer.window)
            masks.setdefault(FULL if layer.window is None else SLIDING, visible[None, None, None])
        return masks if len(masks) > 1 else next(iter(masks.values()))


IN_FLIGHT = 3
"""Steps that are launched but not read: one that the host waits for, and two that are queued."""

Failed = Callable[[Exception], None]


class InFlightSteps:
    """The steps of one answer within one span, launched before their ids are read.

    Steps that are launched but never read write only past the length of the cache. `failed` is called with an
    error of the device.
    """

    def __init__(
        self, step: StaticStep, replay: Callable[[], None], sampler: Sampler, steps: int, failed: Failed
    ) -> None:
        self._failed = failed
        self._step = step
        self._replay = replay
        self._sampler = sampler
        self._first = sampler.made
        self._steps = steps
        self._launched = self._read = 0
        self._ring = _Ring(step.chosen.device)

    @torch.inference_mode()
    def next(self) -> int | None:
        """Return the next id, or NOT_FINITE if its logits are not finite numbers.

        Return None if an ordinary step is needed: all steps were taken, or the device failed.
        """
        try:
            while self._launched < min(self._steps, self._read + IN_FLIGHT):
                self._launch()
            if self._read == self._steps:
                return None
            token = self._ring.read(self._read)
        except Exception as error:  # noqa: BLE001 - an ordinary step then raises the device's error
            self._failed(error)
            self._steps = self._read
            return None
        self._read += 1
        self._sampler.made += token != NOT_FINITE  # an id that is NOT_FINITE is chosen again
        return token

    def _launch(self) -> None:
        """Launch one more step."""
        block, place = divmod(self._first + self._launched, BLOCK)
        if place == 0:
            self._step.draw_from(self._sampler.draws.block(block), place)
        self._replay()
        self._ring.write(self._launched, self._step.chosen)
        self._launched += 1


class _Ring:
    """The last ids that the device chose, in host memory that the device writes asynchronously."""

    def __init__(self, device: torch.device) -> None:
        on_a_card = device.type == "cuda"
        event: Any = torch.cuda.Event
        self._slots = torch.zeros(IN_FLIGHT, dtype=torch.long, pin_memory=on_a_card)
        self._written = [event() for _ in range(IN_FLIGHT)] if on_a_card else []

    def write(self, number: int, chosen: torch.Tensor) -> None:
        """Queue the copy of the id of step `number`, after the steps that were launched."""
        slot = number % IN_FLIGHT
        self._slots[slot : slot + 1].copy_(chosen, non_blocking=True)
        if self._written:  # a stream of this GPU: another GPU may be current
            self._written[slot].record(torch.cuda.current_stream(chosen.device))

    def read(self, number: int) -> int:
        """Wait for the id of step `number`, and return it."""
        slot = number % IN_FLIGHT
        if self._written:
            self._written[slot].synchronize()
        return int(self._slots[slot])


@dataclass(frozen=True, slots=True)
class OrdinaryStep:
    """An ordinary step, taken before decoding ahead: the id that it evaluated, its position, its logits."""

    token: int
    position: int
    logits: torch.Tensor


class GraphDecoder:
    """The recorded steps of one model and one cache. `reason` is why it cannot decode ahead, or empty."""

    def __init__(self, model: Any, cache: RewindableCache, limit: int, record: GraphRecorder) -> None:
        self.reason = unsupported_reason(model)
        self._model = model
        self._cache = cache
        self._limit = limit
        self._record = record
        self._step: StaticStep | None = None
        self._recorded: dict[SamplingStep, dict[int, Callable[[], None]]] = {}

    @torch.inference_mode()
    def begin(
        self, before: OrdinaryStep, token: int, sampler: Sampler, history: History, steps: int
    ) -> InFlightSteps | None:
        """Start to decode at most `steps` ids after `token`, which follows `before` and is not evaluated yet.

        A step that is not recorded yet is recorded now. Return None, and set `reason`, if the device cannot
        record it, or if the recorded step gives other logits than `before`.
        """
        if self.reason:
            return None
        position, choice = before.position + 1, sampler.choice
        span = self._span(position)
        try:
            self._step = step = self._step or StaticStep(self._model, self._cache, len(before.logits))
            recorded = self._recordings(choice)
            if span not in recorded:
                recorded[span] = self._proven(step, span, choice, before)
            block, place = divmod(sampler.made, BLOCK)
            step.begin(
                token, position, sampler.seen(history, len(step.seen)), sampler.draws.block(block), place
            )
            return InFlightSteps(step, recorded[span], sampler, min(steps, span - position), self.give_up)
        except Exception as error:  # noqa: BLE001 - after any error, ordinary steps still work
            self.give_up(error)
            return None

    def _recordings(self, choice: SamplingStep) -> dict[int, Callable[[], None]]:
        """Return the recorded steps of a choice by span; drop the least recently used choices."""
        recorded = self._recorded.pop(choice, {})
        self._recorded[choice] = recorded
        while len(self._recorded) > CHOICES:
            del self._recorded[next(iter(self._recorded))]
        return recorded

    def _proven(
        self, step: StaticStep, span: int, choice: SamplingStep, before: OrdinaryStep
    ) -> Callable[[], None]:
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
