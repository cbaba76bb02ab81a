"""A chat session: sends the user's turns, streams the answers, and saves both."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hermes_cli.chat.members import Member, named
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.regex_scripts import Stage
from hermes_cli.chat.session_prompt import SessionPrompt
from hermes_cli.chat.session_state import SessionState
from hermes_cli.chat.turn_scripts import answer_rewriter
from hermes_cli.engines.background import BackgroundEngine, is_ready
from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason, Usage
from hermes_cli.engines.unsupported_option import UnsupportedOption
from hermes_cli.errors import ContextOverflow, Interrupted, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.tree import MessageState, Node
from hermes_cli.untrusted.deadline import Deadline

if TYPE_CHECKING:
    from hermes_cli.chat.prompt import Prompt  # imported with the first prompt

MOST_RETRIES: Final = 3
"""How often a prompt is made again because a server reports that it does not fit."""
NEARLY_FULL: Final = 0.9
"""Share of the context window. An answer that was cut below it has met another limit."""


class Session(SessionState):
    """A conversation with one engine: the state, and the answers of the model.

    `last` describes the last answer, or is None. `reasoning` is the model's reasoning before the last answer,
    even if no text followed. `prompts` builds the prompts.
    """

    def __init__(
        self,
        engine: Engine,
        members: Sequence[Member],
        options: LayeredOptions,
        recorder: Recorder | None = None,
        *,
        deadline: Deadline | None = None,
    ) -> None:
        super().__init__(members, recorder, deadline)
        self.engine = engine
        self.options = options
        self.last: Completion | None = None
        self.reasoning = ""
        self.prompts = SessionPrompt(self)

    # Generation

    def send(
        self, text: str, cancel: Cancel, prefill: str = "", files: Sequence[str] = ()
    ) -> Iterator[Chunk]:
        """Send a user's turn, and yield the answer. The answer starts with `prefill`, which is not yielded.

        `files` are the names of the files in `text`, for the hint if the prompt does not fit.

        The generated text stays in the conversation even if the answer is cancelled or fails, or the iterator
        is closed. If that happens before any text, the user's turn is hidden, so that it can be sent again.
        Raises the engine's errors, and ContextOverflow if the prompt does not fit; the turn is then removed.
        """
        cursor = self.tree.cursor
        message = self._new_message(Role.USER, text if files else self.filled(text, Stage.ADD))
        self.waiting = self._answering(message.text)
        turn = self.tree.append(message, created=time.time())
        self.recorder.save()
        self.prompts.files = tuple(files)
        return self._answer(cancel, prefill, cursor, turn=turn)

    def talk(self, speaker: int, cancel: Cancel) -> Iterator[Chunk]:
        """Yield what a member says after the last message, without a turn of the user.

        Raises UsageError if there is no message, and any error that `send` raises.
        """
        if not self.tree.path:  # the first messages have one role: those of the user, or greetings
            raise UsageError("there is nothing to answer yet", "send a message first")
        self.waiting = [speaker, *(other for other in self.waiting if other != speaker)]
        self.prompts.files = ()
        return self._answer(cancel, "", self.tree.cursor)

    def edit(self, count: int, text: str, cancel: Cancel) -> Iterator[Chunk]:
        """Replace the user's `count`th turn from the end, and yield the answer to the new text.

        The old turn and those after it stay in the tree. Raises UsageError if there is no such turn, and
        any error that `send` raises.
        """
        cursor, self.prompts.files = self.tree.cursor, ()
        message = self._new_message(Role.USER, self.filled(text, Stage.EDIT))
        turn = self.tree.edit(count, message, time.time())
        self.waiting = self._answering(turn.text)
        self.recorder.save()
        return self._answer(cancel, "", cursor, turn=turn)

    def continue_answer(self, cancel: Cancel) -> Iterator[Chunk]:
        """Continue the last answer, and yield the new text.

        The longer answer replaces the previous one, which stays in the tree. If the model returns no text,
        the previous answer is restored. Raises UsageError if there is no answer or its character has left,
        and any error that `send` raises.
        """
        answer = self.require_answer()
        if self.has_left(answer):
            raise UsageError("the character of this answer has left", "/regen lets another one answer")
        self.waiting = [self.speaker_of(answer)]
        self._move(lambda tree: tree.move_to(answer.parent))
        return self._answer(cancel, answer.text, answer.id, continues=answer)

    def regenerate(self, cancel: Cancel) -> Iterator[Chunk]:
        """Yield a new answer in place of the last one, or to the user's last turn. The previous one is kept.

        If it is cancelled or fails before any text, the previous answer is restored. A fixed seed is
        increased by the number of earlier answers, so that the text differs. Raises UsageError if there is
        no answer, or if the turn before it is hidden, and any error that `send` raises.
        """
        cursor = self.tree.cursor
        if not self.tree.is_unanswered:
            answer = self.require_answer()
            self._require_visible(self.tree.node(answer.parent or 0))
            self.waiting = [self.speaker_of(answer)]
            self._move(lambda tree: tree.move_to(answer.parent))
        else:
            self._require_visible(self.tree.path[-1])
            self.waiting = self._answering(self.tree.path[-1].text)
        attempt = len(self.tree.answers(self.tree.cursor))
        return self._answer(cancel, "", cursor, attempt=attempt)

    def draft_turn(self, cancel: Cancel) -> Iterator[Chunk]:
        """Yield the text of the user's next turn, as the model would write it. Nothing is saved.

        Raises UsageError if the user's last turn has no answer yet, and the errors that `send` raises.
        """
        if self.tree.is_unanswered:
            raise UsageError("your last turn has no answer yet", "/regen generates one")
        self.prompts.files = ()
        turn = replace(self._new_message(Role.USER, ""), is_open=True)

        # Post-history instructions and notes after the user's last turn are about the answer.
        def up_to_turn(messages: Sequence[Message]) -> Sequence[Message]:
            return [*itertools.takewhile(lambda message: message is not turn, messages), turn]

        options = self.options.options
        stops = (*options.stop, *(f"\n{member.name}:" for member in self.members))
        options = replace(options, stop=stops)
        turns, speaker = (*self.turns, turn), self.next_speaker
        chunks = self._within_context(turns, speaker, options, cancel, up_to_turn)
        yield from without_first_spaces(chunks) if turn.is_named else chunks

    def _answer(
        self,
        cancel: Cancel,
        prefill: str,
        before: int | None,
        *,
        continues: Node | None = None,
        turn: Node | None = None,
        attempt: int = 0,
    ) -> Iterator[Chunk]:
        """Yield the answer of the next speaker at the cursor, without its start, which is `prefill`.

        If no answer is added to the tree, the cursor returns to the node `before`. A new `turn` is removed if
        the prompt does not fit. `attempt` is the number of earlier answers, and `continues` the answer whose
        text is `prefill`, if any.
        """
        speaker, options = self.next_speaker, self.options.options.for_attempt(attempt)
        new_answer = self._new_answer(prefill, speaker)
        beginning = named(continues.message, self.members) if continues else new_answer
        rewrite = answer_rewriter(self.members[speaker].prompt_settings, len(self.tree.path), Stage.ADD)
        self.last = None
        self.reasoning = continues.generation.reasoning if continues else ""
        new, failed, interrupted, is_refused = "", False, False, False
        try:
            for chunk in self._stream(beginning, speaker, options, cancel):
                new += chunk.text
                self.reasoning += chunk.reasoning
                if new:
                    answer = replace(beginning, text=prefill + new, reasoning=self.reasoning)
                    self.recorder.grow(answer)
                if chunk.completion is not None:
                    self.last = chunk.completion
                yield chunk
        except Exception as error:
            failed, is_refused = True, isinstance(error, ContextOverflow)
            raise
        except Interrupted:
            interrupted = True  # the user's turn stays, so that it can be answered after a restart
            raise
        finally:
            ended = self.last is not None and self.last.finish_reason is not FinishReason.CANCELLED
            self.waiting = self.waiting[1:] if ended else []
            if new or (ended and continues is None):
                state = MessageState.COMPLETE if ended else MessageState.STOPPED
                state = MessageState.FAILED if failed else state
                record = self.recorder.generation_record(self.engine.name, options, self.last, self.reasoning)
                text = rewrite(prefill + new) if rewrite else prefill + new
                if text != prefill + new:
                    record = record._replace(turn_ids=None)
                answer = Message(Role.ASSISTANT, text, speaker=beginning.speaker)
                self.recorder.finish(self.tree.append(answer, state, record, time.time()))
            elif is_refused and turn is not None:
                self.tree.withdraw(before)
                self.recorder.withdraw(turn.id)
            elif not interrupted:
                self._move(lambda tree: tree.move_to(before))

    def _stream(
        self, beginning: Message, speaker: int, options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer to the part of the conversation that fits in the context window."""
        turns = self.turns
        follows_answer = bool(turns) and turns[-1].role is Role.ASSISTANT  # which is not continued
        if beginning.sent_text or beginning.reasoning is not None or follows_answer:
            turns = (*turns, beginning)
        stops = (*self.members[speaker].prompt_settings.stops, *self._names_of_others(speaker))
        options = replace(options, stop=tuple(dict.fromkeys((*options.stop, *stops))))
        chunks = self._within_context(turns, speaker, options, cancel)
        is_after_name = beginning.is_named and not beginning.text
        yield from without_first_spaces(chunks) if is_after_name else chunks

    def _within_context(
        self,
        turns: Sequence[Message],
        speaker: int,
        options: GenerationOptions,
        cancel: Cancel,
        select: Callable[[Sequence[Message]], Sequence[Message]] = tuple,
    ) -> Iterator[Chunk]:
        """Yield the answer to the messages of the prompt that `select` returns.

        If the engine learns about its context window from a server, the prompt is made again.
        """
        for retries in range(MOST_RETRIES + 1):
            try:
                if (prompt := self._fitted(turns, speaker, cancel)) is None:
                    yield Chunk("", Completion(FinishReason.CANCELLED))
                else:
                    yield from self.engine.stream(select(prompt.messages), options, cancel)
            except UnsupportedOption as error:
                raise error.from_source(self.options.source(error.option)) from None
            except ContextOverflow as overflow:
                if retries == MOST_RETRIES or not overflow.can_retry:
                    raise
            else:
                return

    def _names_of_others(self, speaker: int) -> Iterator[str]:
        """Yield the stop strings that keep an answer from speaking for the other members."""
        for index, member in enumerate(self.members):
            if index != speaker:
                yield f"\n{member.name}:"

    # The prompt

    def assembled(self, *more: Message, cancel: Cancel | None = None) -> "Prompt":
        """Return the prompt of the next speaker for the conversation followed by `more`.

        It may exceed the context window. Raises RequestCancelled if `cancel` is set while a server counts.
        """
        return self.prompts.assembled((*self.turns, *more), self.next_speaker, cancel)

    def next_prompt(self) -> "Prompt":
        """Return the prompt for the user's next turn, which is empty, with the beginning of the answer."""
        speaker, turn = self.next_speaker, self._new_message(Role.USER, "")
        beginning = self._new_answer("", speaker)
        is_sent = beginning.is_named or beginning.reasoning is not None
        return self.assembled(turn, *([beginning] if is_sent else []))

    def _new_answer(self, text: str, speaker: int) -> Message:
        """Return the beginning of an answer, with an empty reasoning if the options permit none."""
        reasoning = "" if self.options.options.thinking_budget == 0 else None
        return replace(self._new_message(Role.ASSISTANT, text, speaker), reasoning=reasoning)

    def prefill_ahead(self, cancel: Cancel | None = None) -> None:
        """Start to evaluate the next prompt up to the user's turn, if the engine can do so on a thread.

        Raises RequestCancelled if `cancel` is set while a server counts the prompt's tokens.
        """
        engine = self.engine
        if isinstance(engine, BackgroundEngine) and not (engine.is_loading() or engine.failure):
            turn = Message(Role.USER, "")
            messages = self.assembled(turn, cancel=cancel).messages
            engine.prefill_ahead(messages[: messages.index(turn)])

    def _fitted(self, turns: Sequence[Message], speaker: int, cancel: Cancel) -> "Prompt | None":
        """Return the prompt when the model is loaded, or None if this was cancelled."""
        return self.prompts.fitted(turns, speaker, cancel) if is_ready(self.engine, cancel) else None

    @property
    def cut_short(self) -> str:
        """The reason why the last answer was cut off, as text for the user; empty if it was not cut off."""
        reason = self.last.finish_reason if self.last else FinishReason.STOP
        if reason is FinishReason.LOOP:
            count = self.options.options.loop_guard
            repeated = "1 token" if count == 1 else f"{count:,} tokens"
            return f"it repeated itself for {repeated}; set loop_guard to 0 to allow that"
        if reason is not FinishReason.LENGTH:
            return ""
        usage, window = self.last.usage if self.last else Usage(), self.engine.context_size
        generated = usage.completion_tokens
        if generated == self.options.options.max_tokens:
            return f"max_tokens is {generated:,}"
        if generated and usage.prompt_tokens + generated < NEARLY_FULL * window:
            return f"the server's own limit was reached after {generated:,} tokens"
        return f"the context window of {window:,} tokens is full"


def without_first_spaces(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks of an answer without the white space at its beginning."""
    has_begun = False
    for chunk in chunks:
        text = chunk.text if has_begun else chunk.text.lstrip()
        has_begun = has_begun or bool(text)
        yield chunk._replace(text=text)
