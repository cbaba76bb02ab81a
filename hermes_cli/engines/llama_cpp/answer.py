"""Converts the pieces of a llama.cpp completion to Chunks and a Completion. It uses no threads.

The pieces are those of xllamacpp's `handle_completions` with `stream`, `verbose` and `return_progress`:
`prompt_progress` during the prefill, then `text` with the id of the last token under `__verbose`, and a
`finish_reason` at the end.
"""

import time
from collections.abc import Sequence
from typing import Any

from hermes_cli.chatml import ChatML
from hermes_cli.engines.answer_state import AnswerState
from hermes_cli.engines.base import Chunk, Completion, FinishReason, Progress, Timings, Usage
from hermes_cli.errors import ContextOverflow, HermesError, ResourcesExhausted
from hermes_cli.options import GenerationOptions


class Answer:
    """The state of one answer. `reason` is None until the answer ends."""

    def __init__(
        self, chatml: ChatML, prompt_size: int, opening: Sequence[int], options: GenerationOptions
    ) -> None:
        self.reason: FinishReason | None = None
        self._chatml = chatml
        self._reply = AnswerState(chatml, opening, options)
        self._prompt_size = prompt_size
        self._cached = 0
        self._generated = 0
        self._began = time.monotonic()
        self._first: float | None = None

    def feed(self, piece: dict[str, Any]) -> Chunk:
        """Add the next piece and return the text that can be shown, which may be empty.

        Raises ContextOverflow, ResourcesExhausted or HermesError if the piece reports an error.
        """
        if "error" in piece:
            raise _failure(piece["error"])
        if told := piece.get("prompt_progress"):
            self._cached = int(told["cache"])
            done, total = (int(told[name]) - self._cached for name in ("processed", "total"))
            return Chunk("", progress=Progress(done, total))
        choice, detail = piece["choices"][0], piece["__verbose"]
        if choice["finish_reason"] is not None:
            self.reason = FinishReason.LENGTH if choice["finish_reason"] == "length" else FinishReason.STOP
            self._generated = int(detail["tokens_predicted"])
            return Chunk("")
        return Chunk(self._take(str(choice["text"]), detail["tokens"], int(detail["tokens_predicted"])))

    def _take(self, text: str, last: list[int], generated: int) -> str:
        if self._first is None:
            self._first = time.monotonic()
        new, self._generated = generated - self._generated, generated
        if self._chatml.holds_control(last):
            # Any control token ends the turn, even if llama.cpp does not treat it as an end token.
            self.reason = FinishReason.STOP
            return ""
        # A character of several tokens arrives in one piece with only its last id, so it is encoded to get
        # all ids. If the model generated other ids for it, the KV cache is reused only up to this point.
        shown = self._reply.take(text, last if new == 1 else self._chatml.encode_after_newline(text))
        self.reason = self._reply.reason
        return shown

    def flush(self) -> str:
        """Return the text that was held back because it might begin a stop string."""
        return self._reply.flush()

    def completion(self) -> Completion:
        """Return the token counts, timings and ids of the answer, after its end."""
        now = time.monotonic()
        first = self._first or now
        return Completion(
            self.reason or FinishReason.CANCELLED,
            Usage(self._prompt_size, self._generated, self._cached),
            Timings(first - self._began, now - first),
            self._reply.turn_ids(),
        )


def _failure(error: dict[str, Any]) -> HermesError:
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(int(error["n_prompt_tokens"]), int(error["n_ctx"]))
    message = str(error.get("message", error))
    if "memory" in message.lower():
        return ResourcesExhausted(f"llama.cpp ran out of memory: {message}", "choose a smaller --context")
    return HermesError(f"llama.cpp failed: {message}", "try again; --debug shows llama.cpp's own log")
