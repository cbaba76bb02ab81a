"""A chat session: sends the user's turns, streams the answers, and saves both."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hermes_cli.chat.overflow import left_out_remarks, overflow_error
from hermes_cli.chat.prompt import PartKind, Prompt
from hermes_cli.chat.prompt_builder import PromptBuilder
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings, Summary, from_saved, to_saved
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.regex_scripts import Stage
from hermes_cli.chat.summarize import summarize
from hermes_cli.chat.turn_macros import fill_turn, idle_seconds, report_unknown
from hermes_cli.chat.turn_scripts import answer_rewriter
from hermes_cli.engines.background import BackgroundEngine, is_ready
from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason
from hermes_cli.errors import ContextOverflow, Interrupted, UsageError
from hermes_cli.messages import Conversation, Message, Opening, Role
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.regex_script import Target
from hermes_cli.store.records import StoredConversation
from hermes_cli.tree import MessageState, Node, Tree
from hermes_cli.untrusted.deadline import Deadline


class Session:
    """A conversation with one engine.

    `tree` holds the messages and the cursor, which determine the visible conversation. `opening` holds the
    system prompt and the examples before the tree, and `prompt_settings` the other parts. `summaries` replace
    the oldest turns; each covers more turns than the one before. `remarks` are messages for the user about
    turns that were left out or summarized. `recorder` saves the tree. `deadline` is that of the opening,
    which the first turn shares.
    """

    def __init__(
        self,
        engine: Engine,
        opening: Opening,
        options: LayeredOptions,
        recorder: Recorder | None = None,
        prompt_settings: PromptSettings | None = None,
        *,
        deadline: Deadline | None = None,
    ) -> None:
        self.engine = engine
        self.options = options
        self.recorder = recorder or Recorder()
        self.remarks: list[str] = []
        self.last: Completion | None = None
        self.tree: Tree
        self.opening: Opening
        self.prompt_settings = prompt_settings or PromptSettings()
        self.summaries: tuple[Summary, ...]
        self._conversation: tuple[tuple[Node, ...], Opening, Conversation] | None = None
        self._builder: tuple[tuple[object, ...], PromptBuilder] | None = None
        self._reported: set[PartKind]
        self._files: tuple[str, ...] = ()
        self._deadline: Deadline
        self.restart(opening, deadline=deadline)

    @property
    def conversation(self) -> Conversation:
        """The opening and the visible turns. The same object is returned until one of them changes."""
        path, opening, cached = self.tree.path, self.opening, self._conversation
        if cached is None or cached[0] is not path or cached[1] is not opening:
            turns = (node.message for node in self.tree.sent_path)
            cached = self._conversation = path, opening, Conversation((*opening.before, *turns))
        return cached[2]

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
        message = Message(Role.USER, text if files else self.filled(text, Stage.ADD))
        turn = self.tree.append(message, created=time.time())
        self.recorder.save()
        self._files = tuple(files)
        return self._answer(cancel, Message(Role.ASSISTANT, prefill), cursor, turn=turn)

    def edit(self, count: int, text: str, cancel: Cancel) -> Iterator[Chunk]:
        """Replace the user's `count`th turn from the end, and yield the answer to the new text.

        The old turn and those after it stay in the tree. Raises UsageError if there is no such turn, and
        any error that `send` raises.
        """
        cursor, self._files = self.tree.cursor, ()
        turn = self.tree.edit(count, self.filled(text, Stage.EDIT), time.time())
        self.recorder.save()
        return self._answer(cancel, Message(Role.ASSISTANT, ""), cursor, turn=turn)

    def filled(self, text: str, stage: Stage | None = None) -> str:
        """Return the user's text after the regex scripts for `stage`, with its macros expanded.

        Add a remark if this changes it.
        """
        turns = self.conversation.messages[self.root :]
        stage = stage if stage and self.prompt_settings.scripts.select(Target.USER, stage) else None
        filled = fill_turn(text, self.prompt_settings, len(self.tree), turns, self._deadline, stage=stage)
        if filled != text:
            what = "Filled in the macros" if stage is None else "Sent as"
            self.remarks.append(f"{what}: {filled}")
        return filled

    def continue_answer(self, cancel: Cancel) -> Iterator[Chunk]:
        """Continue the last answer, and yield the new text.

        The longer answer replaces the previous one, which stays in the tree. If the model returns no text,
        the previous answer is restored. Raises UsageError if there is no answer, and any error that
        `send` raises.
        """
        answer = self.require_answer()
        self._move(lambda tree: tree.move_to(answer.parent))
        return self._answer(cancel, answer.message, answer.id, continues=True)

    def regenerate(self, cancel: Cancel) -> Iterator[Chunk]:
        """Yield a new answer to the user's last turn. A previous answer stays in the tree.

        If it is cancelled or fails before any text, the previous answer is restored. A fixed seed is
        increased by the number of earlier answers, so that the text differs. Raises UsageError if there is
        no turn, and any error that `send` raises.
        """
        cursor = self.tree.cursor
        if not self.tree.is_unanswered:
            answer = self.require_answer()
            self._require_turn(self.tree.node(answer.parent or 0))
            self._move(lambda tree: tree.move_to(answer.parent))
        else:
            self._require_turn(self.tree.path[-1])
        attempt = len(self.tree.children(self.tree.cursor))
        return self._answer(cancel, Message(Role.ASSISTANT, ""), cursor, attempt=attempt)

    def draft_turn(self, cancel: Cancel) -> Iterator[Chunk]:
        """Yield the text of the user's next turn, as the model would write it. Nothing is saved.

        Raises UsageError if the user's last turn has no answer yet, and the errors that `send` raises.
        """
        if self.tree.is_unanswered:
            raise UsageError("your last turn has no answer yet", "/regen generates one")
        self._files = ()
        turn = Message(Role.USER, "", is_open=True)
        prompt = self._fitted(self.conversation.add(turn), cancel) if is_ready(self.engine, cancel) else None
        if prompt is None:
            yield Chunk("", Completion(FinishReason.CANCELLED))
            return
        # Post-history instructions and notes after the user's last turn are about the answer.
        before = list(itertools.takewhile(lambda message: message is not turn, prompt.messages))
        options = self.options.options
        stops = (*options.stop, f"\n{self.prompt_settings.macros.char}:")
        yield from self.engine.stream([*before, turn], replace(options, stop=stops), cancel)

    def replace_answer(self, text: str) -> None:
        """Replace the model's last answer with the user's text. The old answer stays in the tree.

        Raises UsageError if there is no answer.
        """
        answer, text = self.require_answer(), self._edited_answer(text)
        self.tree.move_to(answer.parent)
        self.tree.append(Message(Role.ASSISTANT, text), created=time.time())
        self.recorder.save()

    def _edited_answer(self, text: str) -> str:
        rewrite = answer_rewriter(self.prompt_settings, len(self.tree.path), Stage.EDIT)
        return rewrite(text) if rewrite else text

    def require_answer(self) -> Node:
        """Return the last answer. Raises UsageError if the last turn is not an answer to the user."""
        path = self.tree.path
        if not path or path[-1].role is not Role.ASSISTANT or self.tree.is_at_greeting:
            raise UsageError("there is no answer here yet", "send a message first")
        return path[-1]

    def _require_turn(self, turn: Node | None) -> None:
        """Raise UsageError if there is no turn of the user to answer in the prompt."""
        if turn is None or turn.role is not Role.USER:
            raise UsageError("the turn that this answers was deleted", "/tree shows it on another branch")
        if turn.is_hidden:
            raise UsageError("the turn that this answers is hidden", f"/hide {turn.id} shows it to the model")

    def _answer(
        self,
        cancel: Cancel,
        beginning: Message,
        before: int | None,
        *,
        continues: bool = False,
        turn: Node | None = None,
        attempt: int = 0,
    ) -> Iterator[Chunk]:
        """Yield the answer to the turn at the cursor, without its start, which is the text of `beginning`.

        If no answer is added to the tree, the cursor returns to the node `before`. A new `turn` is removed if
        the prompt does not fit. `attempt` is the number of earlier answers.
        """
        prefill, options = beginning.text, self.options.options.for_attempt(attempt)
        messages = self.conversation.add(beginning) if prefill else self.conversation
        rewrite = answer_rewriter(self.prompt_settings, len(self.tree.path), Stage.ADD)
        self.last = None
        new, failed, interrupted, is_refused = "", False, False, False
        try:
            for chunk in self._stream(messages, options, cancel):
                new += chunk.text
                if new:
                    self.recorder.grow(prefill + new)
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
            if new or (ended and not continues):
                answer = Message(Role.ASSISTANT, prefill + new)
                state = MessageState.COMPLETE if ended else MessageState.STOPPED
                state = MessageState.FAILED if failed else state
                record = self.recorder.generation_record(self.engine.name, options, self.last)
                if rewrite and (text := rewrite(answer.text)) != answer.text:
                    answer, record = replace(answer, text=text), replace(record, turn_ids=None)
                self.recorder.finish(self.tree.append(answer, state, record, time.time()))
            elif is_refused and turn is not None:
                self.tree.withdraw(before)
                self.recorder.withdraw(turn.id)
            elif not interrupted:
                self._move(lambda tree: tree.move_to(before))

    def _stream(
        self, conversation: Conversation, options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer to the part of the conversation that fits in the context window."""
        prompt = self._fitted(conversation, cancel) if is_ready(self.engine, cancel) else None
        if prompt is None:
            yield Chunk("", Completion(FinishReason.CANCELLED))
            return
        options = replace(options, stop=tuple(dict.fromkeys((*options.stop, *self.prompt_settings.stops))))
        yield from self.engine.stream(prompt.messages, options, cancel)

    # The prompt

    def assembled(self, *more: Message) -> Prompt:
        """Return the prompt for the conversation followed by `more`. It may exceed the context window."""
        return self._assembled(self.conversation.add(*more), self._next_deadline())

    def prefill_ahead(self) -> None:
        """Start to evaluate the next prompt up to the user's turn, if the engine can do so on a thread."""
        engine = self.engine
        if isinstance(engine, BackgroundEngine) and not (engine.is_loading() or engine.failure):
            messages = self.assembled(Message(Role.USER, "")).messages
            turn = messages.index(Message(Role.USER, ""))
            engine.prefill_ahead(messages[:turn])

    def _next_deadline(self) -> Deadline:
        """Return the deadline of the next prompt: that of the opening, or a new one."""
        deadline, self._deadline = self._deadline, Deadline()
        return deadline

    def _assembled(self, conversation: Conversation, deadline: Deadline) -> Prompt:
        turns = conversation.messages[self.root :]
        summary = self.summary_of(turns)
        key = (self.engine, self.opening, self.prompt_settings, self.options.options.max_tokens, summary)
        self.prompt_settings.macros.state.idle_s = idle_seconds(self.tree.path)
        if self._builder is None or self._builder[0] != key:
            self._builder = key, PromptBuilder(*key, deadline=deadline)
        return self._builder[1].prompt(turns, deadline)

    def lore_problems(self) -> dict[str, str]:
        """Return the lorebook keys that have been disabled so far, each with the reason."""
        return dict(self._builder[1].lore.disabled_keys) if self._builder else {}

    def summary_of(self, turns: Sequence[Message]) -> Summary | None:
        """Return the latest summary that covers the beginning of these turns, but not all of them."""
        for summary in reversed(self.summaries):
            if len(turns) > summary.covers and tuple(turns[: summary.covers]) == summary.turns:
                return summary
        return None

    def _fitted(self, conversation: Conversation, cancel: Cancel) -> Prompt | None:
        """Return the prompt. With Overflow.SUMMARISE, turns that do not fit are summarized first.

        Return None if the summary was cancelled. Raises ContextOverflow if the prompt exceeds the window.
        """
        turns, deadline = conversation.messages[self.root :], self._next_deadline()
        prompt, summary = self._assembled(conversation, deadline), self.summary_of(turns)
        covered = summary.covers if summary else 0
        if self.prompt_settings.overflow is Overflow.SUMMARISE and prompt.first > covered:
            old = turns[covered : prompt.first]
            text = summarize(
                self.engine,
                old,
                summary,
                macros=self.prompt_settings.macros,
                options=self.options.options,
                cancel=cancel,
            )
            if text is None:
                return None
            through = self.tree.sent_path[prompt.first - 1].id
            self.set_summaries((*self.summaries, Summary(turns[: prompt.first], text, through)))
            count = "message" if prompt.first == 1 else f"{prompt.first:,} messages"
            remark = f"Summarized the first {count}; /summary shows the summary:\n{text}"
            self.remarks.append(remark if text else f"Left out the first {count}: too long to summarize")
            prompt = self._assembled(conversation, deadline)
        self._report_left_out(prompt)
        if prompt.skipped:
            self.remarks.append(prompt.skipped)
        if prompt.tokens >= prompt.window:
            opening, settings = self.opening, self.prompt_settings
            raise overflow_error(
                prompt, turns, self.engine, opening=opening, settings=settings, files=self._files
            )
        return prompt

    def _report_left_out(self, prompt: Prompt) -> None:
        """Add a remark about parts that are left out, once for each kind of part, and unknown macros."""
        new = [part for part in prompt.left_out if part.kind not in self._reported]
        self._reported |= {part.kind for part in new}
        self.remarks += report_unknown(self.prompt_settings.macros.state) + left_out_remarks(new)

    def set_summaries(self, summaries: tuple[Summary, ...]) -> None:
        """Replace the summaries of the oldest turns, and save them."""
        self.summaries = summaries
        self.save_settings()

    def set_prompt_settings(self, prompt_settings: PromptSettings) -> None:
        """Replace the prompt settings, for example to change the note or the lorebooks, and save them."""
        self.prompt_settings = prompt_settings
        self.save_settings()

    def save_settings(self) -> None:
        """Save the settings of the conversation: the user's name, seed, note and summaries."""
        self.recorder.change_settings(to_saved(self.prompt_settings, self.summaries, self.opening))

    # Moves in the tree. No move deletes a message; an impossible move raises UsageError.

    def undo(self, count: int = 1) -> None:
        """Hide the user's last `count` turns and their answers."""
        self._move(lambda tree: tree.undo(count))

    def swipe(self, index: int) -> None:
        """Show another alternative of the last answer or greeting."""
        self._move(lambda tree: tree.swipe(index))

    def goto(self, number: int) -> None:
        """Show the path to a message; for one of the user's turns, the path to its newest answer."""
        self._move(lambda tree: tree.goto(number))

    def branch(self, number: int, text: str | None) -> None:
        """Continue on a new branch in which a visible message has another text, or None to leave it out."""
        is_answer = self.tree.require(number).role is Role.ASSISTANT
        if text is not None:
            text = self._edited_answer(text) if is_answer else self.filled(text, Stage.EDIT)
        self._move(lambda tree: tree.branch(number, text, time.time()))

    def hide(self, number: int) -> bool:
        """Leave a message out of prompts, or include it again. Return whether it is now hidden."""
        node = self.tree.hide(number)
        self.recorder.hide(node)
        return node.is_hidden

    def _move(self, move: Callable[[Tree], None]) -> None:
        move(self.tree)
        self.recorder.move()

    @property
    def root(self) -> int:
        """The number of messages before the tree: the system prompt and the examples, not the greeting."""
        return len(self.opening.before)

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
        generated = self.last.usage.completion_tokens if self.last else 0
        if generated == self.options.options.max_tokens:
            return f"max_tokens is {generated:,}"
        return f"the context window of {self.engine.context_size:,} tokens is full"

    def clear(self) -> None:
        """Start a new conversation with the same opening, without the user's note."""
        self.restart(self.opening, replace(self.prompt_settings, note=None))

    def restart(
        self,
        opening: Opening,
        prompt_settings: PromptSettings | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        """Start a new conversation with another opening, for example that of another persona."""
        self._deadline = deadline or Deadline()
        self._begin(opening, Tree(opening.greetings), prompt_settings or self.prompt_settings)

    def fork(self, title: str) -> None:
        """Continue in a copy of the visible messages and their swipes. Raises UsageError if none exist."""
        if self.tree.cursor is None or self.tree.is_at_greeting:
            raise UsageError("there is nothing to copy yet", "send a message first")
        turns, tree = self.conversation.messages[self.root :], self.tree.fork()
        summaries = tuple(
            replace(summary, through=tree.sent_path[summary.covers - 1].id)
            for summary in self.summaries
            if turns[: summary.covers] == summary.turns
        )
        self._begin(self.opening, tree, self.prompt_settings, summaries, title)
        self.recorder.save()

    def _begin(
        self,
        opening: Opening,
        tree: Tree,
        prompt_settings: PromptSettings,
        summaries: tuple[Summary, ...] = (),
        title: str = "",
    ) -> None:
        self.opening, self.tree = opening, tree
        self.prompt_settings, self.summaries = prompt_settings, summaries
        self._reported = set()
        self.recorder.begin(tree, opening, title)
        self.save_settings()

    def resume(self, stored: StoredConversation, prompt_settings: PromptSettings | None = None) -> None:
        """Continue a stored conversation; `prompt_settings` are those of its persona.

        Raises StoreError.
        """
        tree, saved = self.recorder.resume(stored)
        greetings = tuple(node.text for node in tree.children(None) if node.role is Role.ASSISTANT)
        opening = Opening.behind(stored.opening, greetings)
        is_same = opening.system == self.opening.system
        self.tree = tree
        self.opening = replace(
            opening, cacheable=self.opening.cacheable and is_same, character_at=saved.character_at
        )
        self._reported = set()
        self.prompt_settings, self.summaries = from_saved(
            saved,
            prompt_settings or self.prompt_settings,
            lambda number: [node.message for node in tree.path_to(number) if not node.is_hidden],
        )
        self.save_settings()

    def stop_saving(self) -> int:
        """Save only in memory from now on; return the number of messages that remain on disk."""
        self.opening = replace(self.opening, cacheable=False)
        return self.recorder.move_to_memory()

    def set_system(self, text: str | None) -> None:
        """Change the system prompt of later prompts; the turns are unchanged."""
        self.set_opening(replace(self.opening, system=text, cacheable=False, character_at=len(text or "")))

    def set_opening(self, opening: Opening) -> None:
        """Change the system prompt and the examples of later prompts, and the greetings of later chats."""
        self.opening = opening
        self.recorder.change_opening(self.opening)
        self.save_settings()

    def set_persona(self, persona: str, opening: Opening) -> None:
        """Change the persona of later prompts and its opening; the turns are unchanged."""
        self.opening = opening
        self.recorder.change_persona(persona, opening)
        self.save_settings()
