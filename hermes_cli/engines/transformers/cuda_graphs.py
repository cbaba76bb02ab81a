"""Decoding with CUDA graphs: a step is captured once, verified, and then replayed.

A GPU computes a token of a 7B model in less time than Python needs to launch the kernels and read the id.
Replays are therefore launched before earlier ids are read. Replays past the end of an answer are discarded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers.cache_utils import Cache

from hermes_cli.engines.transformers.attention import EAGER
from hermes_cli.engines.transformers.kv_cache import FULL, SLIDING, RewindableCache, StaticLayer
from hermes_cli.engines.transformers.sampling import BLOCK, History, Sampler, SamplingParams
from hermes_cli.engines.transformers.torch_errors import NonFiniteLogits
from hermes_cli.errors import first_line

Replay = Callable[[], None]
Capture = Callable[[Callable[[], None]], Replay]
"""A function that captures a step and returns a function that replays it. The capture may run the step."""

FIRST_SPAN = 512
"""The smallest number of positions that a captured step attends to. Larger captured steps
attend to 2, 4, 8… times as many."""
MAX_PARAMS = 2
"""Maximum number of SamplingParams with captured steps: one for chat, one for summaries."""
COMPARED_IDS = 20
TOLERANCE = {torch.float64: 1e-6, torch.float32: 0.01, torch.float16: 0.05, torch.bfloat16: 0.25}
"""Largest mean difference in log-probability, in nats, between a captured and an eager step, by dtype.

Only the likeliest ids are compared. The limits are about three times the difference that was measured
between two correct computations (docs/measurements/gpu.md).
"""
IN_FLIGHT = 3
"""Maximum number of launched replays with unread ids: the host waits for one, and two are queued."""
NO_TOKEN = -1
"""The id that a step returns if its logits are not finite."""


def cuda_capture(device: torch.device) -> Capture | None:
    """Return a function that captures CUDA graphs, or None if `device` is not a CUDA device.

    Source: "CUDA Graphs" in PyTorch's notes on CUDA semantics.
    """
    if device.type != "cuda":
        return None
    cuda: Any = torch.cuda
    capture_stream = cuda.Stream(device)

    def capture(step: Callable[[], None]) -> Replay:
        # Run the step once in a mode in which waiting for the GPU raises an error: a wait during the capture
        # is a CUDA error, after which later CUDA calls may fail too.
        sync_debug_mode = cuda.get_sync_debug_mode()
        cuda.set_sync_debug_mode("error")
        try:
            step()
        finally:
            cuda.set_sync_debug_mode(sync_debug_mode)
        graph = cuda.CUDAGraph()
        # `cuda.stream` restores the current stream: a failed capture may leave its own stream current.
        with (
            cuda.device(device),
            cuda.stream(cuda.current_stream(device)),
            cuda.graph(graph, stream=capture_stream, capture_error_mode="thread_local"),
        ):
            step()
        replay: Replay = graph.replay
        return replay

    return capture


def unsupported_reason(model: Any) -> str:
    """Return the reason why steps of `model` cannot be captured, or "" if they can."""
    if len(set((getattr(model, "hf_device_map", None) or {"": ""}).values())) > 1:
        return "the model is split over several devices"
    if getattr(model, "is_loaded_in_8bit", False):
        return "bitsandbytes' 8-bit layers synchronize with the CPU"
    if getattr(getattr(model, "config", None), "_attn_implementation", "") == EAGER:
        return "the model's attention needs masks of another type"
    return ""


class StaticStep:
    """A decode step whose inputs and outputs are tensors at fixed addresses.

    Inputs: `token` (1, 1), the id to evaluate; `position` (1), its position; `ids` (limit), the ids at all
    earlier positions; `random` (BLOCK, 2), random numbers; and `random_index` (1), the row to use. Each step
    updates all of them but `random` for the next step. Outputs: `logits` (vocabulary), and `sampled` (1), the
    next id, or NO_TOKEN if the logits are not finite.
    """

    def __init__(self, model: Any, cache: RewindableCache, vocabulary_size: int, limit: int) -> None:
        self._model = model
        self._cache = cache
        device = cache.layers[0].keys.device
        self.token = torch.zeros((1, 1), dtype=torch.long, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.ids = torch.zeros(limit, dtype=torch.long, device=device)
        self.random = torch.zeros((BLOCK, 2), device=device)
        self.random_index = torch.zeros(1, dtype=torch.long, device=device)
        self.logits = torch.zeros(vocabulary_size, device=device)
        self.sampled = torch.zeros(1, dtype=torch.long, device=device)

    def set_token(self, token: int, position: int) -> None:
        """Set the id that the next step evaluates, and its position."""
        self.token.fill_(token)
        self.position.fill_(position)

    def set_random(self, block: torch.Tensor, index: int) -> None:
        """Set the random numbers of the next steps to the rows of `block` from `index` on."""
        self.random.copy_(block)
        self.random_index.fill_(index)

    @torch.inference_mode()
    def run(self, span: int, params: SamplingParams) -> None:
        """Run one step that attends to the first `span` positions, which must include its own."""
        layers = [StaticLayer(layer, self.position, span) for layer in self._cache.layers]
        output = self._model(
            input_ids=self.token,
            attention_mask=self._masks(span),
            position_ids=self.position[None],
            past_key_values=Cache(layers=layers),
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits.copy_(output.logits[0, -1])
        random = self.random.index_select(0, self.random_index)[0]
        self.ids.index_copy_(0, self.position, self.token[0])
        token = params.sample(params.penalize(self.logits, self._recent_ids(span, params)), random)
        finite = torch.isfinite(self.logits).all()
        self.sampled.copy_(torch.where(finite, token, NO_TOKEN)[None])
        self.token.copy_(token[None, None])
        self.position.add_(1)
        self.random_index.add_(1)

    def _recent_ids(self, span: int, params: SamplingParams) -> torch.Tensor:
        """Return the ids that the repetition penalty covers, padded with copies of the first id."""
        count = params.penalized_count(span)
        positions = self.position - torch.arange(count, device=self.position.device)
        return self.ids.index_select(0, positions.clamp(min=0))

    def _masks(self, span: int) -> Any:
        """Return the attention mask, (1, 1, 1, span), or masks by layer type if there are two types."""
        positions = torch.arange(span, device=self.position.device)
        past = positions <= self.position
        masks: dict[str, torch.Tensor] = {}
        for layer in self._cache.layers:
            visible = past if layer.window is None else past & (positions > self.position - layer.window)
            masks.setdefault(FULL if layer.window is None else SLIDING, visible[None, None, None])
        return masks if len(masks) > 1 else next(iter(masks.values()))


class GraphReplays:
    """Up to `steps` replays of a captured step, for one answer.

    Up to IN_FLIGHT replays are launched before their ids are read. Unread replays write only past the end of
    the cached tokens. If the device fails, `on_error` is called with the error.
    """

    def __init__(
        self,
        step: StaticStep,
        replay: Replay,
        sampler: Sampler,
        steps: int,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._step = step
        self._replay = replay
        self._sampler = sampler
        self._steps = steps
        self._on_error = on_error
        self._first_sample = sampler.count
        self._launched = self._read = 0
        # A ring buffer in pinned host memory. The GPU copies the ids to it asynchronously.
        on_gpu = step.sampled.is_cuda
        self._ids = torch.zeros(IN_FLIGHT, dtype=torch.long, pin_memory=on_gpu)
        event: Any = torch.cuda.Event
        self._copied = [event() for _ in range(IN_FLIGHT)] if on_gpu else []

    @torch.inference_mode()
    def next(self) -> int | None:
        """Return the next id, or None if no steps are left or the device failed.

        Raises NonFiniteLogits if the logits are not finite.
        """
        try:
            while self._launched < min(self._steps, self._read + IN_FLIGHT):
                self._launch()
            if self._read == self._steps:
                return None
            slot = self._read % IN_FLIGHT
            if self._copied:
                self._copied[slot].synchronize()
            token = int(self._ids[slot])
        except Exception as error:  # noqa: BLE001 - an eager step then raises the device's error
            self._on_error(error)
            self._steps = self._read
            return None
        self._read += 1
        if token == NO_TOKEN:
            raise NonFiniteLogits
        self._sampler.count += 1
        return token

    def _launch(self) -> None:
        block, index = divmod(self._first_sample + self._launched, BLOCK)
        if index == 0:
            self._step.set_random(self._sampler.random.block(block), index)
        self._replay()
        slot = self._launched % IN_FLIGHT
        self._ids[slot : slot + 1].copy_(self._step.sampled, non_blocking=True)
        if self._copied:  # the stream of this GPU; another GPU may be the current one
            self._copied[slot].record(torch.cuda.current_stream(self._step.sampled.device))
        self._launched += 1


class GraphDecoder:
    """The captured steps of one model and one KV cache.

    `disabled_reason` is the reason why graphs are not used, or "".
    """

    def __init__(self, model: Any, cache: RewindableCache, limit: int, capture: Capture) -> None:
        self.disabled_reason = unsupported_reason(model)
        self._model = model
        self._cache = cache
        self._limit = limit
        self._capture = capture
        self._step: StaticStep | None = None
        self._captured: dict[SamplingParams, dict[int, Replay]] = {}

    @torch.inference_mode()
    def start(
        self, history: History, last_logits: torch.Tensor, sampler: Sampler, steps: int
    ) -> GraphReplays | None:
        """Start decoding at most `steps` ids after `history`, whose last id has not been evaluated yet.

        `last_logits` is the result of the eager step that evaluated the second-to-last id. A step is
        captured when it is first needed. If the capture fails, or if a replay does not reproduce
        `last_logits`, disable graphs. Return None if graphs are disabled.
        """
        if self.disabled_reason:
            return None
        position = len(history.ids) - 1
        span = self._span(position)
        try:
            size = len(last_logits), self._limit
            self._step = step = self._step or StaticStep(self._model, self._cache, *size)
            replays = self._replays(sampler.params)
            if span not in replays:
                run = partial(step.run, span, sampler.params)
                replays[span] = self._capture_verified(step, run, history.ids[-2], position - 1, last_logits)
            block, index = divmod(sampler.count, BLOCK)
            step.set_token(history.ids[-1], position)
            step.set_random(sampler.random.block(block), index)
            step.ids[: len(history.ids)].copy_(torch.tensor(history.ids))
            return GraphReplays(step, replays[span], sampler, min(steps, span - position), self.disable)
        except Exception as error:  # noqa: BLE001 - after any error, eager steps still work
            self.disable(error)
            return None

    def disable(self, error: Exception) -> None:
        """Stop using graphs because of an error, and drop the captured steps."""
        self.disabled_reason = first_line(error)
        self._captured, self._step = {}, None

    def _replays(self, params: SamplingParams) -> dict[int, Replay]:
        """Return the captured steps for `params` by span, and evict the least recently used parameters."""
        replays = self._captured.pop(params, {})
        self._captured[params] = replays
        while len(self._captured) > MAX_PARAMS:
            del self._captured[next(iter(self._captured))]
        return replays

    def _span(self, position: int) -> int:
        """Return the number of positions that a captured step at `position` attends to."""
        span = FIRST_SPAN
        while span <= position:
            span *= 2
        return min(span, self._limit)

    def _capture_verified(
        self, step: StaticStep, run: Callable[[], None], token: int, position: int, logits: torch.Tensor
    ) -> Replay:
        """Capture a step, and verify that its replay for `token` reproduces `logits`."""
        states = self._cache.states_at(position)
        saved = [state.clone() for state in states]
        step.random_index.zero_()
        try:
            step.set_token(token, position)
            replay = self._capture(run)
            step.set_token(token, position)
            step.logits.fill_(torch.nan)  # so that a replay that does nothing fails
            replay()
            self._compare(logits, step.logits)
        finally:
            for state, original in zip(states, saved, strict=True):
                state.copy_(original)
        return replay

    def _compare(self, eager: torch.Tensor, replayed: torch.Tensor) -> None:
        """Raise ValueError if the log-probabilities of the likeliest ids differ by more than TOLERANCE."""
        eager, replayed = eager.log_softmax(-1), replayed.log_softmax(-1)
        likeliest = torch.cat(
            [logits.topk(min(COMPARED_IDS, len(logits))).indices for logits in (eager, replayed)]
        )
        difference = float((eager - replayed)[likeliest].abs().mean())
        if not difference <= TOLERANCE.get(self._model.dtype, 0):  # `not <=` also catches NaN
            raise ValueError(f"the logits differ by {difference:.2g} nats from those of an eager step")
