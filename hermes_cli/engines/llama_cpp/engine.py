"""The llama.cpp engine.

It reuses the KV cache of the last prompt, and cancelling stops generation within one token.
"""

import queue
import re
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from hermes_cli.engines.base import Cancel, Chunk, FinishReason, Progress, PromptToken, Usage
from hermes_cli.engines.detokenizer import ids_where, prompt_tokens, texts
from hermes_cli.engines.llama_cpp.prompt_cache import PromptCache
from hermes_cli.engines.llama_cpp.rewind import Rewinder
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.engines.stream_filters import Answer, PhraseBan
from hermes_cli.errors import ContextOverflow, HermesError, ResourcesExhausted, UsageError
from hermes_cli.messages import Message
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.options import GenerationOptions
from hermes_cli.placement import Placement
from hermes_cli.prompts.chatml import ChatML
from hermes_cli.prompts.format_choice import FormatChoice
from hermes_cli.prompts.prompt_format import PromptFormat
from hermes_cli.prompts.protected_text import ControlToken

CANCEL_POLL_S = 0.05
"""Seconds between two checks of `cancel` while no token arrives, for example during a long prefill."""

LOOPING = frozenset(("gpt-2", "llama-bpe", "llama3", "qwen2", "smollm", "starcoder"))
"""The pre-tokenizers that llama.cpp implements with loops. Others use `std::regex`, which recurses."""
STACK_BYTES = 256 << 20
LONGEST_RUN = 400_000
"""Characters of one kind in a row that `std::regex` can match on a stack of STACK_BYTES, with a margin.

A character takes about 430 bytes. With the usual stack of 8 MiB, 120,000 letters crash llama.cpp.
"""
RUN = re.compile(r"[^\W\d_]+|\d+|\s+|(?:[^\w\s]|_)+")


class LlamaCppEngine:
    """A GGUF model in llama.cpp. `header` is the file's metadata, and `settings` the load parameters.

    The model runs in a child process, which is started again after a crash. `log` is called with each line of
    its log. `cache_dir` is the folder of the prefix cache on disk, or None to disable it. `prompt_format` is
    the format of the plan; None is the automatic choice.
    """

    def __init__(
        self,
        header: GgufHeader,
        settings: LlamaSettings,
        *,
        name: str,
        log: Callable[[str], None] | None = None,
        cache_dir: PromptCacheDir | None = None,
        prompt_format: FormatChoice | None = None,
    ) -> None:
        choice = prompt_format or header.templates.choose()
        self.name = name
        self.context_size = settings.context_size
        self.max_context_size = max(header.context_length, settings.context_size)
        self.estimates_tokens = False
        self._header = header
        self._is_recursive = header.tokenizer_model == "gpt2" and header.tokenizer_pre not in LOOPING
        if self._is_recursive:
            settings = replace(settings, stack_bytes=STACK_BYTES)
        if cache_dir is not None:
            settings = replace(settings, states_folder=str(cache_dir.folder))
        self._prefixes = PromptCache(cache_dir, settings, header.kv_bytes_per_token) if cache_dir else None
        self._prefix: list[int] = []
        """The first ids in the KV cache that were restored from a file or saved."""
        self._settings = settings
        self._log = log
        self._restarting = threading.Lock()
        self._server = LlamaProcess(settings, log)
        self.placement: Placement | None = self._server.placement
        self._byte_level = header.tokenizer_model == "gpt2"
        ends = texts(header.end_ids, header.tokens, byte_level=self._byte_level)
        control = {**ends, **header.control_tokens}
        self._banned_ids: tuple[tuple[str, ...], frozenset[int]] = ((), frozenset())
        self._format = self._prompt_format(choice, header, control)

    def _prompt_format(
        self, choice: FormatChoice, header: GgufHeader, control: Mapping[str, int]
    ) -> PromptFormat:
        if choice.template is None:
            return ChatML(self._encode, control, header.fingerprint, end_ids=header.end_ids)
        from hermes_cli.prompts.template_format import TemplateFormat

        stripping = header.rstrip_tokens
        tokens = {text: ControlToken(i, rstrip=text in stripping) for text, i in control.items()}
        return TemplateFormat(choice.template, self._encode, tokens, header.fingerprint, header.end_ids)

    @property
    def prompt_format(self) -> PromptFormat:
        """The format of the prompts."""
        return self._format

    def _encode(self, text: str) -> list[int]:
        if self._is_recursive and len(text) > LONGEST_RUN:
            longest = max((match[0] for match in RUN.finditer(text)), key=len)
            if len(longest) > LONGEST_RUN:
                raise UsageError(
                    f"the text has {len(longest):,} characters like {longest[0]!r} in a row; this model's "
                    f"tokenizer can read {LONGEST_RUN:,}",
                    "break the text into lines",
                )
        return self._running().encode(text)

    def _running(self) -> LlamaProcess:
        """Return the child process. If it has crashed, load the model in a new one."""
        with self._restarting:
            if self._server.has_crashed:
                self._server.close()
                self._prefix = []
                self._server = LlamaProcess(self._settings, self._log)
            return self._server

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer; see Engine.stream."""
        prompt = self._format.ids(messages)
        if len(prompt) >= self.context_size:
            raise ContextOverflow(len(prompt), self.context_size)
        prefix = self._load_prefix(messages, cancel)
        return self._chunks(prefix, Answer(self._format, messages, options), prompt, options, cancel)

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        """Evaluate the ids of the messages; see Engine.prefill."""
        ids = self._format.common_ids(messages)
        if len(ids) < self.context_size and not cancel.is_set():
            for _ in self._load_prefix(messages, cancel):
                pass
            for _ in self._prefill(ids, cancel):
                pass

    def _load_prefix(self, messages: Sequence[Message], cancel: Cancel) -> Iterator[tuple[int, int]]:
        """Put the cacheable messages into the KV cache: from their file, or by evaluating and saving them.

        Only whole batches are saved, so that the answer is the same: the batches are those of a prompt that
        is evaluated at once. Yield what `_prefill` yields.
        """
        ids = self._format.cacheable_ids(messages)
        ids = ids[: len(ids) // self._settings.batch * self._settings.batch]
        if self._prefixes is None or not ids or ids == self._prefix[: len(ids)]:
            return
        if not self._prefixes.restore(self._running(), ids):
            yield from self._prefill(ids, cancel)
            if cancel.is_set():
                return
            self._prefixes.save(self._running(), ids)
        self._prefix = ids

    def _prefill(self, ids: list[int], cancel: Cancel) -> Iterator[tuple[int, int]]:
        """Evaluate ids, and generate none. After each chunk, yield how many ids were cached, and are now."""
        request = {"prompt": ids, "stream": True, "verbose": True, "n_predict": 0}
        for event in self._events({**request, "return_progress": True, "cache_prompt": True}, cancel):
            if progress := event.get("progress"):
                yield progress[0], progress[1]
            elif event.get("finish"):
                return

    def _chunks(
        self,
        prefix: Iterator[tuple[int, int]],
        answer: Answer,
        prompt: list[int],
        options: GenerationOptions,
        cancel: Cancel,
    ) -> Iterator[Chunk]:
        cached = generated = evaluated = 0
        for cached, done in prefix:
            evaluated = done - cached
            yield Chunk("", progress=Progress(evaluated, len(prompt) - cached))
        with closing(self._within_budget(answer, prompt, options, cancel)) as events:
            for event in events:
                if progress := event.get("progress"):
                    cached, done, total = progress
                    cached -= evaluated
                    yield Chunk("", progress=Progress(done - cached, total - cached))
                    continue
                generated = event["generated"]
                if (chunk := self._feed(answer, event)).has_text:
                    yield chunk
                if answer.finish_reason is not None:
                    break
        if (chunk := answer.flush()).has_text:
            yield chunk
        usage = Usage(len(prompt), generated, cached)
        yield Chunk("", answer.completion(usage, FinishReason.CANCELLED))

    def _feed(self, answer: Answer, event: dict[str, Any]) -> Chunk:
        """Add the text of an event to the answer, and return what can be shown.

        See `server.OnEvent` for the events.
        """
        if reason := event.get("finish"):
            answer.finish_reason = FinishReason.LENGTH if reason == "length" else FinishReason.STOP
            return Chunk("")
        answer.start_decode()
        return answer.feed(event["text"], event["ids"])

    def _within_budget(
        self, answer: Answer, prompt: list[int], options: GenerationOptions, cancel: Cancel
    ) -> Generator[dict[str, Any]]:
        """Yield the events of an answer. If its reasoning exceeds the budget, the model begins to answer."""
        # llama.cpp rounds the context window up to 256 tokens, so it would generate more than fit.
        room = self.context_size - len(prompt)
        limit = min(room, room if options.max_tokens is None else options.max_tokens)
        ids = list[int]()
        while True:
            before = len(ids)
            with closing(self._allowed([*prompt, *ids], limit - before, options, cancel)) as events:
                for event in events:
                    if "progress" not in event:
                        ids += event.get("ids", ())
                        yield event | {"generated": before + event["generated"]}
                    elif not before:
                        yield event
                    if answer.exceeds_budget:
                        break
            if not answer.exceeds_budget or cancel.is_set():
                return
            ids += answer.close_reasoning()

    def _allowed(
        self, prompt: list[int], max_tokens: int, options: GenerationOptions, cancel: Cancel
    ) -> Generator[dict[str, Any]]:
        """Yield the events of an answer of at most `max_tokens` without banned phrases."""

        def complete(ids: list[int], banned: Collection[int]) -> Generator[dict[str, Any]]:
            limit = max_tokens - len(ids)
            if limit <= 0:
                yield {"finish": "length", "generated": 0}
                return
            request = self._request([*prompt, *ids], replace(options, max_tokens=limit))
            if banned:
                request["logit_bias"] = [[token, False] for token in sorted(banned)]
            yield from self._exact_events(request, cancel)

        if not options.ban:
            return complete([], ())
        return Rewinder(options.ban, self._ids_with(options.ban), complete).events()

    def _ids_with(self, phrases: tuple[str, ...]) -> frozenset[int]:
        """Return the ids whose text contains one of the phrases. The last result is kept: it takes 0.3 s."""
        if self._banned_ids[0] != phrases:
            matches = PhraseBan(phrases).matches
            ids = ids_where(matches, self._header.tokens, byte_level=self._byte_level)
            self._banned_ids = phrases, ids
        return self._banned_ids[1]

    def _exact_events(self, request: dict[str, Any], cancel: Cancel) -> Generator[dict[str, Any]]:
        """Yield the events of a completion, each with all ids of its text."""
        before = 0
        with closing(self._events(request, cancel)) as events:
            for event in events:
                if "progress" in event or "finish" in event:
                    yield event
                    continue
                if not self._format.end_ids.isdisjoint(event["ids"]):
                    # Such a token ends the turn, even if llama.cpp does not treat it as an end token.
                    yield {"finish": "stop", "generated": event["generated"]}
                    return
                if event["generated"] - before > 1:
                    # If a character is made of several tokens, its event contains only the id of the last
                    # one. Encoding the text gives all ids. If the model generated different ids, the KV cache
                    # is reused only up to this point.
                    event["ids"] = self._format.encoder.encode_after_newline(event["text"])
                before = event["generated"]
                yield event

    def _events(self, request: dict[str, Any], cancel: Cancel) -> Generator[dict[str, Any]]:
        """Yield the events of a completion. Setting `cancel` or closing the iterator stops it.

        The prompt replaces the ids in the KV cache after their common prefix.

        Raises ContextOverflow, ResourcesExhausted or HermesError if llama.cpp reports an error or crashes.
        """
        if cancel.is_set():
            return
        server = self._running()
        if request["prompt"][: len(self._prefix)] != self._prefix:
            self._prefix = []
        completion = server.start({"run": request})
        try:
            while not cancel.is_set():
                try:
                    answer = completion.next(CANCEL_POLL_S)
                except queue.Empty:
                    continue
                if "event" not in answer:
                    raise HermesError("llama.cpp returned no result", "try again")
                event: dict[str, Any] = answer["event"]
                if "error" in event:
                    raise _server_error(event["error"])
                yield event
        finally:
            completion.cancel()

    def _request(self, prompt: list[int], options: GenerationOptions) -> dict[str, Any]:
        """Return a completion request with the llama.cpp parameters that match the options."""
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
            # In llama.cpp, 0 disables the penalty.
            "repeat_last_n": min(options.repetition_range or self.context_size, self.context_size),
            "dry_multiplier": options.dry_multiplier,
            "dry_base": options.dry_base,
            "dry_allowed_length": options.dry_allowed_length,
            "dry_penalty_last_n": self.context_size,
            "xtc_probability": options.xtc_probability,
            "xtc_threshold": options.xtc_threshold,
            "samplers": ["penalties", "dry", "top_k", "top_p", "min_p", "xtc", "temperature"],
            "seed": -1 if options.seed is None else options.seed,
        }

    def count_tokens(
        self,
        messages: Sequence[Message],
        limit: int | None = None,
        cancel: Cancel | None = None,  # noqa: ARG002 - no server is asked
    ) -> int:
        """Return the number of tokens in the prompt for `messages`; see Engine.count_tokens."""
        return self._format.count(messages, self.context_size if limit is None else limit)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt for `messages`."""
        segments = self._format.segments(messages)
        return prompt_tokens(segments, self._header.tokens, byte_level=self._byte_level)

    def close(self) -> None:
        """End the child process, and thereby free the model."""
        self._server.close()


def _server_error(error: dict[str, Any]) -> HermesError:
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(int(error["n_prompt_tokens"]), int(error["n_ctx"]))
    message = str(error.get("message", error))
    if "memory" in message.lower():
        return ResourcesExhausted(f"llama.cpp ran out of memory: {message}", "use a smaller --context")
    return HermesError(f"llama.cpp failed: {message}", "try again; --debug shows llama.cpp's log")
