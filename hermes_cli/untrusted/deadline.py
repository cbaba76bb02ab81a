"""A limit on the CPU time of the work on text from strangers in one turn."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

TURN_S: Final = 1.0
"""CPU seconds for the text of a turn: macros, lore and the prompt, without the model's own work."""
EARLIER_TURN_S: Final = 0.01
"""CPU seconds for each earlier turn that a prompt contains for the first time, for example after a resume."""


class Deadline:
    """A limit on CPU time, shared by all parts of a turn.

    Only the time inside `with deadline:` counts. If `is_over`, a part leaves out its remaining work and adds
    a description to `skipped`. CPU time is used because a busy machine must not change a prompt.
    """

    def __init__(self, seconds: float = TURN_S, clock: Callable[[], float] = time.thread_time) -> None:
        self.seconds = seconds
        self.skipped: dict[str, str] = {}
        self._clock = clock
        self._used_s = 0.0
        self._depth = 0
        self._started_at = 0.0

    def __enter__(self) -> Self:
        if not self._depth:
            self._started_at = self._clock()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._used_s += self._clock() - self._started_at

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        running_s = self._clock() - self._started_at if self._depth else 0.0
        return self._used_s + running_s > self.seconds

    @property
    def report(self) -> str:
        """What was left out, in one line; empty if nothing was."""
        return "; ".join(f"{part}: {what}" for part, what in self.skipped.items())
