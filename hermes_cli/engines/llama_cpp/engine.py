"""The llama.cpp engine. It reuses the KV cache of the last prompt; a cancel stops it within one token."""

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from hermes_cli.chatml import ChatML
from hermes_cli.engines.base import Cancel, Chunk, PromptToken
from hermes_cli.engines.llama_cpp.answer import Answer
from hermes_cli.engines.llama_cpp.server import LlamaServer
from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess
from hermes_cli.engines.stream_filters import refuse_ban
from hermes_cli.engines.token_bytes import prompt_tokens
from hermes_cli.errors import ContextOverflow, HermesError
from hermes_cli.messages import Message
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.options import GenerationOptions

CANCEL_POLL_S = 0.05
"""Seconds between two checks of `cancel` while no token arrives, for example during a long prefill."""

_Pieces = queue.SimpleQueue[dict[str, Any] | BaseException]


class LlamaCppEngine:
    """A GGUF model on llama.cpp. `header` is the metadata of the file.

    With `in_subprocess` the model loads in a child process, so that this one still handles key presses.
    """

    def __init__(
        self,
        header: GgufHeader,
        *,
        name: str,
        context_size: int,
        threads: int,
        verbose: bool = False,
        in_subprocess: bool = False,
    ) -> None:
        self.name = name
        self.context_size = context_size
        self._header = header
        server = LlamaProcess if in_subprocess else LlamaServer
        self._server = server(header.path, context_size=context_size, threads=threads, verbose=verbose)
        self._chatml = ChatML(self._server.encode, header.control_tokens, header.fingerprint)
        self._running: threading.Thread | None = None

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer; see Engine."""
        refuse_ban(options, "llama.cpp")
        prompt = self._chatml.ids(messages)
        if len(prompt) >= self.context_size:
            raise ContextOverflow(len(prompt), self.context_size)
        opening = self._chatml.open_turn_ids(messages)
        answer = Answer(self._chatml, len(prompt), opening, options)
        return self._chunks(answer, self._request(prompt, options), cancel)

    def _chunks(self, answer: Answer, request: dict[str, Any], cancel: Cancel) -> Iterator[Chunk]:
        ended = Cancel()
        pieces = self._start(request, lambda: ended.is_set() or cancel.is_set())
        try:
            while answer.reason is None and not cancel.is_set():
                try:
                    piece = pieces.get(timeout=CANCEL_POLL_S)
                except queue.Empty:
                    continue
                if isinstance(piece, BaseException):
                    raise piece
                chunk = answer.feed(piece)
                if chunk.text or chunk.progress is not None:
                    yield chunk
            if text := answer.flush():
                yield Chunk(text)
            yield Chunk("", answer.completion())
        finally:
            ended.set()

    def _start(self, request: dict[str, Any], stop: Any) -> _Pieces:
        """Run the request on a new thread: on the main thread, xllamacpp would swallow Ctrl-C."""
        self._wait_for_the_last_run()
        pieces: _Pieces = queue.SimpleQueue()

        def on_chunk(piece: dict[str, Any]) -> bool:
            pieces.put(piece)
            return bool(stop())

        def work() -> None:
            try:
                self._server.run(request, on_chunk)
                pieces.put(HermesError("llama.cpp returned no result", "ask again"))
            except BaseException as error:  # noqa: BLE001 - raised in the thread that reads the queue
                pieces.put(error)

        self._running = threading.Thread(target=work, name="llama.cpp", daemon=True)
        self._running.start()
        return pieces

    def _request(self, prompt: list[int], options: GenerationOptions) -> dict[str, Any]:
        """Return the request for llama.cpp's server: the options under its names, no other samplers."""
        return {
            "prompt": prompt,
            "stream": True,
            "verbose": True,
            "return_progress": True,
            "cache_prompt": True,
            "n_predict": -1 if options.max_tokens is None else options.max_tokens,
            "temperature": options.temperature,
            "top_k": options.top_k,
            "top_p": options.top_p,
            "min_p": options.min_p,
            "repeat_penalty": options.repetition_penalty,
            "repeat_last_n": self.context_size,  # the whole context, as in the other engines
            "dry_multiplier": options.dry_multiplier,
            "dry_base": options.dry_base,
            "dry_allowed_length": options.dry_allowed_length,
            "dry_penalty_last_n": self.context_size,
            "xtc_probability": options.xtc_probability,
            "xtc_threshold": options.xtc_threshold,
            "samplers": ["penalties", "dry", "top_k", "top_p", "min_p", "xtc", "temperature"],
            "seed": -1 if options.seed is None else options.seed,
        }

    def _wait_for_the_last_run(self) -> None:
        """Wait until a cancelled answer has left the server, which handles one at a time."""
        if self._running is not None:
            self._running.join()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of the prompt."""
        return len(self._chatml.ids(messages))

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt."""
        byte_level = self._header.tokenizer_model == "gpt2"
        return prompt_tokens(self._chatml.segments(messages), self._header.tokens, byte_level=byte_level)

    def close(self) -> None:
        """Wait for a running answer to end, then free the model."""
        self._wait_for_the_last_run()
        self._server.close()
