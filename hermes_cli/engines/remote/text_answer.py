"""An answer whose token ids are unknown, during its generation: stop strings, the loop guard, and times."""

import time

from hermes_cli.engines.base import Completion, FinishReason, Timings, Usage
from hermes_cli.engines.stream_filters import LoopGuard, StopScanner
from hermes_cli.options import GenerationOptions


class TextAnswer:
    """Like `stream_filters.Answer`, but for text only. Each piece of a stream counts as a token.

    `finish_reason` is None until a stop string, a loop or the server ends the answer.
    """

    def __init__(self, options: GenerationOptions) -> None:
        self.finish_reason: FinishReason | None = None
        self._scanner = StopScanner(options.stop)
        self._guard = LoopGuard(options.loop_guard)
        self._numbers: dict[str, int] = {}
        self._start = time.monotonic()
        self._first_token: float | None = None

    def start_decode(self) -> None:
        """Record the time of the first token. Later calls do nothing."""
        if self._first_token is None:
            self._first_token = time.monotonic()

    def feed(self, text: str) -> str:
        """Add the next piece, and return the text that can be shown."""
        shown = self._scanner.feed(text)
        is_loop = bool(text) and self._guard.feed(self._numbers.setdefault(text, len(self._numbers)))
        if self._scanner.found:
            self.finish_reason = FinishReason.STOP
        elif is_loop:
            self.finish_reason = FinishReason.LOOP
        return shown

    def flush(self) -> str:
        """Return the text that was held back because it might begin a stop string."""
        return self._scanner.flush()

    def completion(self, usage: Usage, engine_reason: FinishReason) -> Completion:
        """Return the completion. `engine_reason` is used if `finish_reason` is None."""
        now = time.monotonic()
        first_token = now if self._first_token is None else self._first_token
        timings = Timings(first_token - self._start, now - first_token)
        return Completion(self.finish_reason or engine_reason, usage, timings)
