"""Launches steps before the ids of earlier ones are read, so that the device never waits for the host."""

from collections.abc import Callable
from typing import Any

import torch

from hermes_cli.engines.transformers.device_sampling import BLOCK
from hermes_cli.engines.transformers.fixed_step import NOT_FINITE, FixedStep
from hermes_cli.engines.transformers.sampling import Sampler

IN_FLIGHT = 3
"""Steps that are launched but not read: one that the host waits for, and two that are queued."""

Failed = Callable[[Exception], None]


class Flight:
    """The steps of one answer within one span, launched before their ids are read.

    Steps that are launched but never read write only past the length of the cache. `failed` is called with an
    error of the device.
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
