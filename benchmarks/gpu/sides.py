"""The sides of the rows of a GPU: hermes' decode loop, and `generate`; each returns its ids and its speed."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers.generation.streamers import BaseStreamer

from benchmarks.gpu.model import synchronize
from benchmarks.hermes import GREEDY
from hermes_cli.engines.transformers.ahead import recorder
from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.next_ids import NextIds
from hermes_cli.engines.transformers.sampling import History, Sampler


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of a run.

    `speed` is in tokens per second, from the first token to the last. `first_s` is the seconds until the
    first token, and `longest_s` the longest pause between two. `slower` is the reason if hermes decoded one
    step at a time.
    """

    ids: list[int]
    speed: float
    first_s: float
    longest_s: float
    slower: str = ""


def _decoded(ids: list[int], began: float, times: list[float], slower: str = "") -> Decoded:
    """Return the result of a run that began at `began`, and whose ids arrived at `times`."""
    longest = max(later - before for before, later in itertools.pairwise(times))
    return Decoded(ids, (len(times) - 1) / (times[-1] - times[0]), times[0] - began, longest, slower)


class HermesSide:
    """hermes' Decoder and Sampler over a loaded model, used as in its engine."""

    def __init__(self, model: Any, device: torch.device, limit: int) -> None:
        self._decoder = Decoder(model, device, limit, recorder(device))
        self._device = device

    def __call__(self, prompt: list[int], tokens: int) -> Decoded:
        """Generate greedily after a prompt, which is prefilled again."""
        self._decoder.rewind(0)
        synchronize(self._device)
        began = time.perf_counter()
        for _ in self._decoder.prefill(prompt[:-1]):
            pass
        history = History(prompt)
        ids = NextIds(self._decoder, Sampler(GREEDY, self._device), history, tokens)
        times = []
        for _ in range(tokens):
            history.append(ids.next())
            times.append(time.perf_counter())
        return _decoded(history.ids[len(prompt) :], began, times, self._decoder.slower)


class _Clock(BaseStreamer):  # type: ignore[misc]  # transformers is not typed
    """Records the time of each token, in place of a streamer that shows text."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _: Any) -> None:
        """Record the time; the first call is for the prompt."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Do nothing, since there is no text to finish."""


class GenerateSide:
    """`model.generate` with a streamer. `settings` choose the cache, and thereby whether it compiles."""

    def __init__(self, model: Any, device: torch.device, **settings: Any) -> None:
        self._model = model
        self._device = device
        self._settings = settings

    def __call__(self, prompt: list[int], tokens: int) -> Decoded:
        """Generate greedily after a prompt."""
        ids, clock = torch.tensor([prompt], device=self._device), _Clock()
        synchronize(self._device)
        began = time.perf_counter()
        made = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            streamer=clock,
            **self._settings,
        )
        return _decoded(made[0, len(prompt) :].tolist(), began, clock.times[1:])


def profile_table(task: Callable[[], object]) -> str:
    """Return a table of the time of a task by kernel."""
    on_gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as seen:
        task()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table: str = seen.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60)
    return table
