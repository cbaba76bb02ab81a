"""An engine whose model runs on a server. `servers/api.py` describes the levels of what servers support."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from hermes_cli.engines.base import (
    Cancel,
    Chunk,
    Completion,
    FinishReason,
    PromptToken,
    RequestCancelled,
    Usage,
)
from hermes_cli.engines.remote import levels
from hermes_cli.engines.remote.answer_stream import answer_parts
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.failures import EndpointMissing
from hermes_cli.engines.remote.local_vocabulary import LocalVocabulary
from hermes_cli.engines.remote.protected_messages import LiteralCutter
from hermes_cli.engines.remote.servers.api import AnswerPart, Level, RemoteModel, ServerApi, options_left_to
from hermes_cli.engines.remote.servers.chat_completions import models_hint
from hermes_cli.engines.remote.streamed_answer import IdsAnswer, PlainAnswer
from hermes_cli.engines.remote.text_answer import TextAnswer
from hermes_cli.engines.remote.token_estimate import TokenEstimate
from hermes_cli.engines.remote.vocabulary import Agreement, RemoteVocabulary
from hermes_cli.engines.stream_filters import Answer, reject_ban
from hermes_cli.engines.unsupported_option import UnsupportedOption
from hermes_cli.errors import ContextOverflow, HermesError, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import MIN_CONTEXT, GenerationOptions
from hermes_cli.placement import Placement
from hermes_cli.prompts.prompt_format import PromptFormat, continues_answer, excludes_reasoning

CACHED_COUNTS: Final = 256


class RemoteEngine:
    """A model on a server. `notify` is called with each message for the user.

    With a `prompt_format`, prompts are sent as token ids, which `vocabulary` encodes. With only a
    `vocabulary`, the server renders messages, whose tokens it counts; without one, they are estimated.
    `tokenizer_problem` is the reason why the tokenizer on this machine is not used, or "".
    """

    def __init__(
        self,
        client: ServerClient,
        api: ServerApi,
        model: RemoteModel,
        context_size: int,
        *,
        vocabulary: RemoteVocabulary | LocalVocabulary | None = None,
        prompt_format: PromptFormat | None = None,
        tokenizer_problem: str = "",
        notify: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self.name = model.name
        self.context_size = context_size
        self.max_context_size = model.context_size or model.max_context_size or context_size
        self.placement: Placement | None = None
        self._client = client
        self._api = api
        self.model = model
        self._vocabulary = vocabulary
        self._format = prompt_format
        self.tokenizer_problem = tokenizer_problem
        self._notify = notify
        self._cutter = LiteralCutter(vocabulary.control_literals if vocabulary is not None else ())
        self.estimate = TokenEstimate()
        self._counted = lru_cache(CACHED_COUNTS)(
            vocabulary.count if vocabulary is not None else self.estimate.count
        )

    @property
    def level(self) -> Level:
        """What the server supports."""
        if self._format is not None:
            return Level.TOKEN_IDS
        return Level.ESTIMATED if self._vocabulary is None else Level.COUNTED

    @property
    def server_name(self) -> str:
        """The kind of the server, for display."""
        return self._api.name

    @property
    def estimates_tokens(self) -> bool:
        """Whether token counts are estimates."""
        return self.level is Level.ESTIMATED

    @property
    def level_text(self) -> str:
        """What the server supports, for display."""
        return levels.text(self.level, self.tokenizer)

    @property
    def tokenizer(self) -> str:
        """The name of the model on this machine whose tokenizer is used, or an empty string."""
        return self._vocabulary.name if self._vocabulary is not None else ""

    @property
    def level_remark(self) -> str:
        """What the user should know about the level, or an empty string."""
        return levels.remark(self.level, self._api.name)

    @property
    def cannot_continue(self) -> str:
        """The reason why a message of the assistant cannot be continued, or an empty string."""
        return "" if self._format is not None else self._api.cannot_continue

    @property
    def options_left_to_server(self) -> list[str]:
        """The options with an effect that are not sent, so that the server's default applies."""
        return options_left_to(self._api)

    def server_version(self) -> str:
        """Return the version that the server reports, or an empty string. Raises the errors of `connect`."""
        return self._api.version(self._client, Cancel())

    def check_options(self, options: GenerationOptions) -> None:
        """Raise UsageError if an option is set that the server does not have."""
        reject_ban(options, self._api.name)
        if self._format is not None and self._api.tokens is not None:
            options = replace(options, thinking_budget=None)
            self._api.tokens.request(self.model, [0], options, ())
            return
        self._reject_budget(options)
        self._api.chat_request(self.model, [Message(Role.USER, "")], options, self.context_size)

    def _reject_budget(self, options: GenerationOptions) -> None:
        if options.thinking_budget:
            raise UnsupportedOption(self._api.name, "thinking_budget")
        if options.thinking_budget == 0 and not self._api.can_exclude_reasoning:
            raise UsageError(
                f"{self._api.name} cannot keep a model from reasoning",
                "omit --thinking off, or a thinking_budget of 0",
            )

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer; see Engine.stream.

        Raises UsageError if an option is set that the server does not have.
        """
        reject_ban(options, self._api.name)
        try:
            with self._cancelled_by(cancel):
                chunks = self._answer(messages, options, cancel)
        except RequestCancelled:
            return iter((Chunk("", Completion(FinishReason.CANCELLED)),))
        return self._within(cancel, chunks)

    def _cancelled_by(self, cancel: Cancel | None) -> AbstractContextManager[None]:
        """Let `cancel` end the vocabulary's requests in the block."""
        if self._vocabulary is None:
            return nullcontext()
        return self._vocabulary.cancelled_by(cancel or Cancel())

    def _within(self, cancel: Cancel, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Yield the chunks. Setting `cancel` ends the vocabulary's requests for them."""
        stream: Any = chunks
        with closing(stream):
            while True:
                with self._cancelled_by(cancel):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                yield chunk

    def _answer(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Make the prompt, and return the chunks of the answer, which is requested with the first one."""
        if self._format is not None and self._api.tokens is not None:
            prompt = self._format.ids(messages)
            self._require_room(len(prompt))
            ids_answer = IdsAnswer(Answer(self._format, messages, options), self._format)
            parts = self._parts_within_budget(ids_answer, prompt, options, cancel)
            return self._chunks(ids_answer, parts, messages, cancel)
        self._reject_budget(options)
        if excludes_reasoning(messages):
            budget = 0 if self._api.can_exclude_reasoning else None  # None for a summary on other servers
            options = replace(options, thinking_budget=budget)
        name = messages[-1].sent_text if messages and messages[-1].is_named else ""
        messages = self._rendered(messages)
        tokens = self._count(messages, self.context_size)
        self._require_room(tokens)
        if self.model.context_size is not None and options.max_tokens is not None:  # vLLM refuses more
            options = replace(options, max_tokens=min(options.max_tokens, self.context_size - tokens))
        request = self._api.chat_request(
            self.model, self._cutter.protected(messages), options, self.context_size
        )
        parts = self._naming_models(answer_parts(self._client, request, cancel), cancel)
        answer = TextAnswer(options, name, is_continued=continues_answer(messages))
        is_comparable = options.thinking_budget != 0  # servers add different text to prevent reasoning
        return self._chunks(PlainAnswer(answer), parts, messages, cancel, is_comparable=is_comparable)

    def _naming_models(self, parts: Iterator[AnswerPart], cancel: Cancel) -> Iterator[AnswerPart]:
        """Yield the parts of an answer. If the server has no such model, let the hint name others."""
        try:
            yield from parts
        except EndpointMissing as error:
            with suppress(HermesError):
                names = [model.name for model in self._api.models(self._client, cancel)]
                if names and self.model.name not in names:
                    error.hint = models_hint(names, self.model.name)
            raise

    def _parts_within_budget(
        self, answer: IdsAnswer, prompt: list[int], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[AnswerPart]:
        """Yield the parts of an answer. If its reasoning exceeds the budget, the model begins to answer."""
        assert self._format is not None  # noqa: S101 - see `stream`
        assert self._api.tokens is not None  # noqa: S101 - the same
        ends = sorted(self._format.end_ids)
        room = self.context_size - len(prompt)
        limit = min(room, options.max_tokens or room)
        evaluated = len(prompt)
        while True:
            before = len(answer.ids)
            limited = replace(options, max_tokens=max(limit - before, 1), thinking_budget=None)
            request = self._api.tokens.request(self.model, [*prompt, *answer.ids], limited, ends)
            parts: Any = answer_parts(self._client, request, cancel)
            with closing(parts):
                for part in parts:
                    if before and part.progress is not None:
                        continue
                    evaluated = part.progress.total if part.progress is not None else evaluated
                    yield _whole(part, len(prompt), before, evaluated) if before else part
                    if answer.state.exceeds_budget:
                        break
            if not answer.state.exceeds_budget:
                return
            answer.close_reasoning()

    def _require_room(self, tokens: int) -> None:
        if tokens >= self.context_size:
            raise ContextOverflow(tokens, self.context_size)

    def _chunks(
        self,
        answer: IdsAnswer | PlainAnswer,
        parts: Iterator[AnswerPart],
        messages: Sequence[Message],
        cancel: Cancel,
        *,
        is_comparable: bool = False,
    ) -> Iterator[Chunk]:
        usage, generated, has_begun = Usage(), 0, False
        stream: Any = parts
        try:
            with closing(stream):
                for part in parts:
                    if cancel.is_set():  # several parts may have arrived before it
                        break
                    usage = part.usage or usage
                    generated = max(part.generated, generated + len(part.ids))
                    has_begun = has_begun or bool(part.text or part.reasoning or part.ids)
                    yield from answer.add(part)
                    if answer.is_stopped:
                        break
        except RequestCancelled:
            pass
        except ContextOverflow as overflow:
            overflow.can_retry = not has_begun and self._learn_from(overflow, messages)
            raise
        if (chunk := answer.state.flush()).has_text:
            yield chunk
        completion = self._completion(answer, usage, generated, messages, is_comparable=is_comparable)
        yield Chunk("", completion)

    def _learn_from(self, overflow: ContextOverflow, messages: Sequence[Message]) -> bool:
        """Use the numbers of tokens in an error of the server. Return whether one of them is news.

        The context window is used if the server has not reported it and it is smaller than the assumed one.
        """
        before = self._count(messages, self.context_size)
        is_known = self.model.context_size is not None
        is_smaller = not is_known and MIN_CONTEXT <= overflow.context_size < self.context_size
        if is_smaller:
            self.context_size = overflow.context_size
            self.model = self.model._replace(context_size=self.context_size)
            size = f"{self.context_size:,} tokens"
            self._notify(f"{self._api.name} has a context window of {size}; hermes uses it from now on")
        if self._vocabulary is None:
            self.estimate.learn(messages, overflow.prompt_tokens)
            self._counted.cache_clear()
        return is_smaller or self._count(messages, self.context_size) > before

    def _completion(
        self,
        answer: IdsAnswer | PlainAnswer,
        usage: Usage,
        generated: int,
        messages: Sequence[Message],
        *,
        is_comparable: bool,
    ) -> Completion:
        """Return the completion; without counts and ids that only a cancelled request would give."""
        try:
            usage = self._checked_usage(usage, generated, messages, is_comparable=is_comparable)
            return answer.state.completion(usage, FinishReason.CANCELLED)
        except RequestCancelled:
            usage = usage._replace(completion_tokens=usage.completion_tokens or generated)
            return Completion(answer.state.finish_reason or FinishReason.CANCELLED, usage)

    def _checked_usage(
        self, usage: Usage, generated: int, messages: Sequence[Message], *, is_comparable: bool
    ) -> Usage:
        """Return the usage of an answer. If the server has cut the prompt, the user is told.

        If its number of tokens `is_comparable` and a tokenizer here gives another one, estimates replace it.
        """
        reported = usage.prompt_tokens
        is_counted = self._vocabulary is not None or not reported
        expected = self._count(messages, self.context_size) if is_counted else 0
        if not reported:  # the answer was stopped here, or the server does not count
            return Usage(expected, generated or usage.completion_tokens)
        agreement = Agreement.SAME
        if self._vocabulary is not None:
            agreement = self._vocabulary.compare(self._cutter.protected(messages), expected, reported)
        if agreement is Agreement.DIFFERENT and is_comparable:
            self._use_estimates(expected, reported)
        if self._vocabulary is None:
            is_cut = self.estimate.seems_cut(messages, reported)
            expected = self.estimate.count(messages)
            if not is_cut:
                self.estimate.learn(messages, reported)
                self._counted.cache_clear()
        else:
            is_cut = agreement is Agreement.CUT
        if is_cut:
            about = "about " if self._vocabulary is None else ""
            self._notify(
                f"{self._api.name} cut the prompt: it has {about}{expected:,} tokens, and the server "
                f"read {reported:,}; set a larger context there, or a smaller --context here"
            )
        return usage

    def _use_estimates(self, counted: int, reported: int) -> None:
        """Stop using the tokenizer on this machine, because the server counts other numbers of tokens."""
        self.tokenizer_problem = (
            f"{self._api.name} read {reported:,} tokens, and the tokenizer of {self.tokenizer} counts "
            f"{counted:,}: it is not that of the server's model, or the chat template is another one"
        )
        self._notify(f"{self.tokenizer_problem}; token counts are estimates from now on")
        self.close()
        self._vocabulary = None
        self._counted = lru_cache(CACHED_COUNTS)(self.estimate.count)

    def keep_estimate(self, earlier: "RemoteEngine") -> None:
        """Estimate tokens as an earlier engine of the same model does, which has learned from answers."""
        if self._vocabulary is None:
            self.estimate = earlier.estimate
            self._counted = lru_cache(CACHED_COUNTS)(self.estimate.count)

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        """Evaluate the ids of the messages; see Engine.prefill. Most servers cannot do that."""
        tokens = self._api.tokens
        if self._format is None or tokens is None or not tokens.prefills:
            return
        try:
            with self._cancelled_by(cancel):
                ids = self._format.common_ids(messages)
            if len(ids) >= self.context_size or cancel.is_set():
                return
            request = tokens.request(self.model, ids, GenerationOptions(max_tokens=0), ())
            for _ in answer_parts(self._client, request, cancel):
                pass
        except RequestCancelled:
            return

    def count_tokens(
        self, messages: Sequence[Message], limit: int | None = None, cancel: Cancel | None = None
    ) -> int:
        """Return the number of tokens in the prompt for `messages`; at level 3, an estimate."""
        with self._cancelled_by(cancel):
            return self._count(messages, self.context_size if limit is None else limit)

    def _count(self, messages: Sequence[Message], limit: int) -> int:
        if self._format is not None:
            return self._format.count(messages, limit)
        return self._counted(tuple(self._cutter.protected(self._rendered(messages))))

    def _rendered(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages that the server renders, without a last answer that has no text.

        Servers that can continue an answer get it if it has a name, or if they would continue the one before.
        """
        is_empty = len(messages) > 1 and not messages[-1].text.strip()
        if not is_empty or messages[-1].role is not Role.ASSISTANT:
            return messages
        follows_answer = messages[-2].role is Role.ASSISTANT
        is_needed = messages[-1].is_named or follows_answer
        return messages if is_needed and not self._api.cannot_continue else messages[:-1]

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt. Raises UsageError at level 3."""
        if self._vocabulary is None:
            hint = "set 'tokenizer' in its [servers.NAME] table"
            raise UsageError(f"the prompt is made by {self._api.name}", hint)
        if self._format is not None:
            return self._vocabulary.prompt_tokens(self._format.segments(messages))
        return self._vocabulary.server_prompt(self._cutter.protected(self._rendered(messages)))

    def close(self) -> None:
        """Free the tokenizer. Each request has a connection of its own, and the model stays on the server."""
        if self._vocabulary is not None:
            self._vocabulary.close()


def _whole(part: AnswerPart, prompt: int, before: int, evaluated: int) -> AnswerPart:
    """Return a part of a later request for an answer, with the usage of the whole answer.

    The server counts the `before` ids that the answer already has as a part of the prompt.
    """
    if part.usage is None:
        return part
    return part._replace(usage=Usage(prompt, before + part.usage.completion_tokens, prompt - evaluated))
