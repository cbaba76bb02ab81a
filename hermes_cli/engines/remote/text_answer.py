"""An answer whose token ids are unknown, during its generation: stop strings, the loop guard, and times."""

import time
from collections.abc import Sequence
from dataclasses import replace

from hermes_cli.engines.base import Chunk, Completion, FinishReason, Timings, Usage
from hermes_cli.engines.stream_filters import LoopGuard, StopScanner
from hermes_cli.options import GenerationOptions
from hermes_cli.prompts.reasoning import THINK, Part, Reasoning, ReasoningParser


class TextAnswer:
    """Like `stream_filters.Answer`, but for text only. Each piece of a stream counts as a token.

    Reasoning that the server does not separate from the text is recognized by its marks, unless the answer
    `is_continued`. If the answer begins with `name`, this is left out. `finish_reason` is None until a stop
    string, a loop or the server ends the answer.
    """

    def __init__(self, options: GenerationOptions, name: str = "", *, is_continued: bool = False) -> None:
        self.finish_reason: FinishReason | None = None
        marks = replace(THINK, headers=(name,) if name else ())
        self._parser = ReasoningParser(Reasoning({}, marks=marks), is_continued=is_continued)
        self._reasoning_pieces = 0
        self._scanner = StopScanner(options.stop)
        self._guard = LoopGuard(options.loop_guard)
        self._numbers: dict[str, int] = {}
        self._start = time.monotonic()
        self._first_token: float | None = None

    def start_decode(self) -> None:
        """Record the time of the first token. Later calls do nothing."""
        if self._first_token is None:
            self._first_token = time.monotonic()

    def feed(self, text: str, reasoning: str = "") -> Chunk:
        """Add the next piece, and return what can be shown, which can be empty."""
        piece = text or reasoning
        is_loop = bool(piece) and self._guard.feed(self._numbers.setdefault(piece, len(self._numbers)))
        parts = self._parser.feed(text, ()) if text else []
        self._reasoning_pieces += bool(reasoning) or self._parser.is_reasoning
        chunk = self._shown(parts, reasoning)
        if self._scanner.found:
            self.finish_reason = FinishReason.STOP
        elif is_loop:
            self.finish_reason = FinishReason.LOOP
        return chunk

    def _shown(self, parts: Sequence[Part], reasoning: str = "") -> Chunk:
        text = ""
        for part in parts:
            if part.is_reasoning:
                reasoning += part.text
            else:
                text += self._scanner.feed(part.text)
        return Chunk(text, reasoning=reasoning)

    def flush(self) -> Chunk:
        """Return the text that was held back because it might begin a mark or a stop string."""
        chunk = self._shown(self._parser.flush())
        return Chunk(chunk.text + self._scanner.flush(), reasoning=chunk.reasoning)

    def completion(self, usage: Usage, engine_reason: FinishReason) -> Completion:
        """Return the completion. `engine_reason` is used if `finish_reason` is None."""
        now = time.monotonic()
        first_token = now if self._first_token is None else self._first_token
        timings = Timings(first_token - self._start, now - first_token)
        usage = usage._replace(reasoning_tokens=min(self._reasoning_pieces, usage.completion_tokens))
        return Completion(self.finish_reason or engine_reason, usage, timings)
