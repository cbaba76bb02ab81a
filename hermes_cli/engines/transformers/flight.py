"""Steps that are launched before their ids are read: the device never waits for the host.

It knows when a step is launched and its id read. It refuses to know what a step computes.
"""

from collections.abc import Callable
from typing import Any

import torch

from hermes_cli.engines.transformers.choice import BLOCK
from hermes_cli.engines.transformers.fixed_step import NOT_FINITE, FixedStep
from hermes_cli.engines.transformers.sampling import Sampler

IN_FLIGHT = 3
"""Steps that are launched and not read: one that is waited for, and two that the device has in store."""

Failed = Callable[[Exception], None]


class Flight:
    """The steps of one answer, as far as a span goes, launched before their ids are read.

    Steps that were launched and are never read wrote behind what the cache counts as held. `failed` is told
    what the device refused.
    """

    def __init__(
        self, step: FixedStep, replay: Callable[[], None], sampler: Sampler, steps: int, failed: Failed
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
        """Return the next id; NOT_FINITE for one from logits that are no numbers.

        None where a step has to be taken by itself: all were taken, or the device refused one.
        """
        try:
            while self._launched < min(self._steps, self._read + IN_FLIGHT):
                self._launch()
            if self._read == self._steps:
                return None
            token = self._ring.read(self._read)
        except Exception as error:  # noqa: BLE001 - a step by itself says what is wrong with the device
            self._failed(error)
            self._steps = self._read
            return None
        self._read += 1
        self._sampler.made += token != NOT_FINITE  # what is no choice is chosen again
        return token

    def _launch(self) -> None:
        """Give the device one more step."""
        block, place = divmod(self._first + self._launched, BLOCK)
        if place == 0:
            self._step.draw_from(self._sampler.draws.block(block), place)
        self._replay()
        self._ring.write(self._launched, self._step.chosen)
        self._launched += 1


class _Ring:
    """The last ids that the device chose, in memory that it can write to while the host does other things."""

    def __init__(self, device: torch.device) -> None:
        on_a_card = device.type == "cuda"
        event: Any = torch.cuda.Event
        self._slots = torch.zeros(IN_FLIGHT, dtype=torch.long, pin_memory=on_a_card)
        self._written = [event() for _ in range(IN_FLIGHT)] if on_a_card else []

    def write(self, number: int, chosen: torch.Tensor) -> None:
        """Have the id of step `number` written, behind the steps that were launched."""
        slot = number % IN_FLIGHT
        self._slots[slot : slot + 1].copy_(chosen, non_blocking=True)
        if self._written:  # on the card's own stream: the current card may be another one
            self._written[slot].record(torch.cuda.current_stream(chosen.device))

    def read(self, number: int) -> int:
        """Wait until the id of step `number` is there, and return it."""
        slot = number % IN_FLIGHT
        if self._written:
            self._written[slot].synchronize()
        return int(self._slots[slot])
