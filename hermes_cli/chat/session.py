"""A chat session: sends the user's turns, streams the answers, and saves both, however an answer ends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hermes_cli.chat import saved_settings
from hermes_cli.chat.prompt import PartKind, Prompt
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings, Summary
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.summarize import summarize
from hermes_cli.engines.background import is_ready
from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason
from hermes_cli.errors import ContextOverflow, Interrupted, UsageError
from hermes_cli.messages import Conversation, Message, Opening, Role
from hermes_cli.options import Sourced
from hermes_cli.store.records import MessageState

_LORE = {PartKind.ALWAYS, PartKind.LORE}


class Session:
    """A conversation with one engine.

    `conversation` always holds whole exchanges: a user's turn is added once its answer has begun. `opening`
    holds the system prompt, the examples and the greetings, to which `clear` returns. `frame` holds the other
    parts of the prompt. `summaries` replace the oldest turns; each later one covers more of them. `remarks`
    are messages for the user about turns that were left out or condensed. `recorder` saves the turns.
    """

    def __init__(
        self,
        engine: Engine,
        opening: Opening,
        options: Sourced,
        recorder: Recorder | None = None,
        frame: PromptSettings | None = None,
    ) -> None:
        self.engine = engine
        self.opening = opening
        self.conversation = opening.conversation()
        self.options = options
        self.recorder = recorder or Recorder()
        self.frame = frame or PromptSettings()
        self.summaries: tuple[Summary, ...] = ()
        self.remarks: list[str] = []
        self.last: Completion | None = None
        self._context: tuple[tuple[object, ...], PromptBuilder] | None = None
        self._told = set[PartKind]()
        self.recorder.begin(opening)
        self.keep_setting()

    def send(self, text: str, cancel: Cancel, prefill: str = "") -> Iterator[Chunk]:
        """Send a user's turn and yield the answer, which begins with `prefill`.

        The generated text stays in the conversation, whether the answer ends, is cancelled, fails, or the
        iterator is closed. If no text was generated, the user's turn is removed too, so that it can be sent
        again. Raises the engine's errors; ContextOverflow leaves the conversation unchanged.
        """
        return self._ask(text, cancel, prefill, self._here())

    def edit(self, place: int, text: str, cancel: Cancel) -> Iterator[Chunk]:
        """Replace the user's turn at index `place`, and yield the answer to the new text.

        The old turn and those after it stay in the tree. Raises as `send` does.
        """
        back = self._here()
        self.cut(place)
        return self._ask(text, cancel, "", back)

    def go_on(self, cancel: Cancel) -> Iterator[Chunk]:
        """Continue the last answer, and yield the new text.

        The longer answer replaces the previous one, which stays in the tree. If the model returns no text,
        the previous answer is restored. Raises UsageError if there is no answer, and as `send` does.
        """
        self.require_answer()
        back, begun = self._here(), self.conversation.messages[-1]
        self.cut(len(self.conversation) - 1)
        return self._answer(self.conversation, cancel, begun, back, goes_on=True)

    def _ask(self, text: str, cancel: Cancel, prefill: str, back: Callable[[], None]) -> Iterator[Chunk]:
        asked = self.conversation.add(Message(Role.USER, text))
        self.recorder.asked(text)
        return self._answer(asked, cancel, Message(Role.ASSISTANT, prefill), back)

    def amend(self, text: str) -> None:
        """Replace the model's last answer with a text of the user's. The old answer stays in the tree.

        Raises UsageError if there is no answer.
        """
        self.require_answer()
        self.cut(len(self.conversation) - 1)
        self.recorder.amended(text)
        self.conversation = self.conversation.add(Message(Role.ASSISTANT, text))

    def again(self, cancel: Cancel) -> Iterator[Chunk]:
        """Yield a new answer to the user's last turn. A previous answer stays in the tree.

        If the model returns no text, the previous answer is restored. Raises UsageError if there is no turn,
        and as `send` does.
        """
        back = self._here()
        if not self.is_unanswered:
            self.require_answer()
            self.cut(len(self.conversation) - 1)
        return self._answer(self.conversation, cancel, Message(Role.ASSISTANT, ""), back)

    @property
    def is_unanswered(self) -> bool:
        """Whether the last turn is the user's, for example after a crash before the answer began."""
        return len(self.conversation) > self.root and self.conversation.messages[-1].role is Role.USER

    def require_answer(self) -> None:
        """Raise UsageError if the last turn is not an answer to the user."""
        said = self.conversation.messages
        if len(said) <= self.opened or said[-1].role is not Role.ASSISTANT:
            raise UsageError("there is no answer here yet", "ask something first")

    def _answer(
        self,
        asked: Conversation,
        cancel: Cancel,
        begun: Message,
        take_back: Callable[[], None],
        *,
        goes_on: bool = False,
    ) -> Iterator[Chunk]:
        prefill = begun.text
        messages = asked.add(begun) if prefill else asked
        self.last = None
        new, failed, killed = "", False, False
        try:
            for chunk in self._stream(messages, cancel):
                new += chunk.text
                if new:
                    self.recorder.said(prefill + new)
                if chunk.completion is not None:
                    self.last = chunk.completion
                yield chunk
        except Exception:
            failed = True
            raise
        except Interrupted:
            killed = True  # the user's turn stays and can be answered after a restart
            raise
        finally:
            ended = self.last is not None and self.last.finish_reason is not FinishReason.CANCELLED
            if new or (ended and not goes_on):
                turn_ids = self.last.turn_ids if self.last is not None else None
                self.conversation = asked.add(Message(Role.ASSISTANT, prefill + new, turn_ids))
                state = _state(self.last, failed=failed)
                self.recorder.ended(prefill + new, state, self.last, self.engine.name, self.options.options)
            elif not killed:
                take_back()

    def _stream(self, asked: Conversation, cancel: Cancel) -> Iterator[Chunk]:
        """Yield the answer to the part of the conversation that fits the context window."""
        prompt = self._fitted(asked, cancel) if is_ready(self.engine, cancel) else None
        if prompt is None:
            yield Chunk("", Completion(FinishReason.CANCELLED))
            return
        options = self.options.options
        options = replace(options, stop=tuple(dict.fromkeys((*options.stop, *self.frame.stops))))
        yield from self.engine.stream(prompt.messages, options, cancel)

    # The prompt

    def assembled(self, *more: Message) -> Prompt:
        """Return the prompt for the conversation followed by `more`. It may exceed the context window."""
        return self._assembled(self.conversation.add(*more))

    def _assembled(self, conversation: Conversation) -> Prompt:
        turns = conversation.messages[self.root :]
        summary = self.summary_of(turns)
        made_of = (self.engine, self.opening, self.frame, self.options.options.max_tokens, summary)
        if self._context is None or self._context[0] != made_of:
            self._context = made_of, PromptBuilder(*made_of)
        return self._context[1].prompt(turns)

    def lore_problems(self) -> dict[str, str]:
        """Return the lorebook keys that are disabled so far, each with the reason."""
        return dict(self._context[1].lore.broken) if self._context else {}

    def summary_of(self, turns: Sequence[Message]) -> Summary | None:
        """Return the latest summary that covers the beginning of these turns, but not all of them."""
        for one in reversed(self.summaries):
            if len(turns) > one.covers and tuple(turns[: one.covers]) == one.turns:
                return one
        return None

    def _fitted(self, asked: Conversation, cancel: Cancel) -> Prompt | None:
        """Return the prompt, with the oldest turns condensed if the frame asks for it.

        Return None if condensing was cancelled. Raises ContextOverflow if the prompt exceeds the window.
        """
        turns = asked.messages[self.root :]
        prompt, summary = self._assembled(asked), self.summary_of(turns)
        covered = summary.covers if summary else 0
        if self.frame.overflow is Overflow.SUMMARISE and prompt.first > covered:
            old = turns[covered : prompt.first]
            text = summarize(
                self.engine,
                old,
                summary,
                macros=self.frame.macros,
                options=self.options.options,
                cancel=cancel,
            )
            if text is None:
                return None
            path = self.recorder.path
            through = path[prompt.first - 1] if len(path) >= prompt.first else 0
            self.set_summaries((*self.summaries, Summary(turns[: prompt.first], text, through)))
            what = (
                f"were condensed; /summary shows it:\n{text}" if text else "are left out: they are too long"
            )
            self.remarks.append(f"The first {prompt.first} messages {what}")
            prompt = self._assembled(asked)
        self._tell(prompt)
        if prompt.tokens >= prompt.window:
            raise ContextOverflow(prompt.tokens, prompt.window)
        return prompt

    def _tell(self, prompt: Prompt) -> None:
        """Add a remark about the parts that are left out, once for each kind."""
        new = [part for part in prompt.left_out if part.kind not in self._told]
        self._told |= {part.kind for part in new}
        lore = sum(part.of - part.kept for part in new if part.kind in _LORE)
        others = [part for part in new if part.kind not in _LORE]
        if others:
            what = ", ".join(f"{part.of - part.kept} of {part.of} {part.kind}" for part in others)
            self.remarks.append(
                f"The context is full: from here on {what} are left out; /context shows what goes."
            )
        if lore:
            self.remarks.append(f"Lore has no room for {lore} of its entries here; /lore shows which.")

    def set_summaries(self, summaries: tuple[Summary, ...]) -> None:
        """Replace the summaries of the oldest turns, and save them."""
        self.summaries = summaries
        self.keep_setting()

    def set_frame(self, frame: PromptSettings) -> None:
        """Replace the frame, for example with another note or other lorebooks, and save it."""
        self.frame = frame
        self.keep_setting()

    def keep_setting(self) -> None:
        """Save the settings of the conversation: names, seed, note, summaries."""
        self.recorder.change_setting(saved_settings.to_saved(self.frame, self.summaries))

    # The visible path

    def cut(self, length: int) -> None:
        """Keep only the first `length` messages visible. The others stay in the tree."""
        self.conversation = Conversation(self.conversation.messages[:length])
        self.recorder.stand(self.recorder.path[: max(0, length - self.root)])

    def _here(self) -> Callable[[], None]:
        """Return a function that restores the current conversation and path."""
        conversation, path = self.conversation, tuple(self.recorder.path)

        def back() -> None:
            self.conversation = conversation
            # The greeting is saved with the first turn, and stays in the path if that turn is removed.
            self.recorder.stand(path or self.recorder.path[: len(conversation) - self.root])

        return back

    @property
    def root(self) -> int:
        """Number of messages before the tree: system prompt and examples, not the greeting."""
        return len(self.opening.before)

    @property
    def opened(self) -> int:
        """Number of messages before the user's first turn, including the greeting."""
        return self.root + bool(self.opening.greetings)

    @property
    def cut_short(self) -> str:
        """The reason, for the user, why the last answer was cut off; empty if it was not."""
        reason = self.last.finish_reason if self.last else FinishReason.STOP
        if reason is FinishReason.LOOP:
            count = self.options.options.loop_guard
            return f"it repeated itself for {count} tokens; loop_guard 0 would let it"
        if reason is not FinishReason.LENGTH:
            return ""
        said = self.last.usage.completion_tokens if self.last else 0
        if said == self.options.options.max_tokens:
            return f"max_tokens is {said:,}"
        return f"the context window of {self.engine.context_size:,} tokens is full"

    def clear(self) -> None:
        """Start a new conversation with the same opening, without the user's note."""
        self.restart(self.opening, replace(self.frame, note=None))

    def restart(self, opening: Opening, frame: PromptSettings | None = None) -> None:
        """Start a new conversation with another opening, for example that of another persona."""
        self.opening, self.conversation = opening, opening.conversation()
        self.frame = frame or self.frame
        self.summaries, self._told = (), set()
        self.recorder.begin(opening)
        self.keep_setting()

    def greet_with(self, place: int) -> None:
        """Show another greeting, by its index. The conversation must not have begun."""
        self.conversation = self.opening.conversation(place)
        self.recorder.greeting = place

    def resume(self, opening: Opening, turns: Sequence[Message]) -> None:
        """Continue after the turns of an earlier conversation. The caller calls the recorder's `resume`."""
        self.opening = opening
        self.conversation = Conversation((*opening.before, *turns))
        self.summaries, self._told = (), set()

    def set_system(self, text: str | None) -> None:
        """Change the system prompt from the next prompt on; the turns stay."""
        self.opening = replace(self.opening, system=text, cacheable=False)
        self.conversation = self.conversation.with_system(text)
        self.recorder.change_opening(self.opening)


def _state(done: Completion | None, *, failed: bool) -> MessageState:
    """Return the state of an ended answer; STOPPED if there is no completion, as after an early close."""
    if failed:
        return MessageState.FAILED
    return (
        MessageState.STOPPED
        if done is None or done.finish_reason is FinishReason.CANCELLED
        else MessageState.COMPLETE
    )
