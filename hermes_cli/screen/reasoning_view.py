"""Shows the reasoning of a model while it is generated: dimmed on standard error, or folded to one line."""

import time
from collections.abc import Callable

from hermes_cli.screen.terminal import Terminal

PREVIEW_CHARACTERS = 200
"""The last characters of the reasoning that the status line shows, if it has room."""


class ReasoningView:
    """The display of one reasoning. If it is not `shown`, `status` is its line."""

    def __init__(
        self, terminal: Terminal, *, shown: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._terminal = terminal
        self.shown = shown
        self._clock = clock
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._last = ""

    @property
    def has_begun(self) -> bool:
        """Whether there is any reasoning."""
        return self._began_at is not None

    @property
    def seconds(self) -> float:
        """The time since the reasoning began, until it ended."""
        end = self._clock() if self._ended_at is None else self._ended_at
        return end - (end if self._began_at is None else self._began_at)

    @property
    def status(self) -> str:
        """The reasoning in one line: its time and its last words."""
        words = " ".join(self._last[-PREVIEW_CHARACTERS:].split())
        return " · ".join(filter(None, (f"thinking · {self.seconds:.0f} s", words)))

    def write(self, text: str) -> None:
        """Add the next piece of the reasoning."""
        if self._began_at is None:
            self._began_at = self._clock()
            text = text.lstrip()
        self._last = (self._last + text)[-PREVIEW_CHARACTERS:]
        if self.shown:
            self._terminal.dimmed(text)

    def end(self) -> None:
        """End the reasoning; later calls do nothing."""
        if self._began_at is None or self._ended_at is not None:
            return
        self._ended_at = self._clock()
        if self.shown:
            self._terminal.dimmed("\n" if self._last.endswith("\n") else "\n\n")
