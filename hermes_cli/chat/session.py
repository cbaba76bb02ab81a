"""Session: takes a user's turn, streams the answer, and keeps both, however the answer ends.

It knows the order in which turns come to be and what is kept of a broken one. It refuses to know how text
is typed in, how it looks, and where it is stored.
"""

from collections.abc import Callable, Iterator, Sequence

from hermes_cli.chat.keeper import Keeper, before_the_tree
from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason
from hermes_cli.errors import Interrupted, UsageError
from hermes_cli.messages import Conversation, Message, Role
from hermes_cli.options import Sourced
from hermes_cli.store.records import State


class Session:
    """A conversation with one engine.

    `conversation` always holds whole exchanges: a user's turn is in it once its answer has begun. `opening`
    is what `clear` goes back to: system prompt, examples, greeting. The keeper writes down what is said.
    """

    def __init__(
        self, engine: Engine, opening: Conversation, options: Sourced, keeper: Keeper | None = None
    ) -> None:
        self.engine = engine
        self.opening = opening
        self.conversation = opening
        self.options = options
        self.keeper = keeper or Keeper()
        self.last: Completion | None = None
        self.keeper.begin(opening)

    def send(self, text: str, cancel: Cancel, prefill: str = "") -> Iterator[Chunk]:
        """Send a user's turn and yield the answer, which begins with `prefill`.

        What was said stays in the conversation, whether the answer ends, is cancelled, fails, or the
        iterator is closed. Where nothing was said at all, the user's turn is taken back too, so that it can
        be sent again. Raises what the engine raises; ContextOverflow leaves the conversation as it was.
        """
        return self._ask(text, cancel, prefill, self._here())

    def edit(self, place: int, text: str, cancel: Cancel) -> Iterator[Chunk]:
        """Say something else in place of the person's turn at `place`, and yield the answer.

        That turn and all that followed it stay in the tree. Raises as `send` does.
        """
        back = self._here()
        self.cut(place)
        return self._ask(text, cancel, "", back)

    def go_on(self, cancel: Cancel) -> Iterator[Chunk]:
        """Go on with the last answer from where it ended, and yield what is new.

        The longer answer stands in its place; the one before stays in the tree. Where nothing is new, it
        stands again. Raises UsageError where there is no answer, and as `send` does.
        """
        self.require_answer()
        back, begun = self._here(), self.conversation.messages[-1]
        self.cut(len(self.conversation) - 1)
        return self._answer(self.conversation, cancel, begun, back, goes_on=True)

    def _ask(self, text: str, cancel: Cancel, prefill: str, back: Callable[[], None]) -> Iterator[Chunk]:
        asked = self.conversation.add(Message(Role.USER, text))
        self.keeper.asked(text)
        return self._answer(asked, cancel, Message(Role.ASSISTANT, prefill), back)

    def amend(self, text: str) -> None:
        """Put other words in the model's mouth, in place of its last answer, which stays in the tree.

        Raises UsageError where there is no answer.
        """
        self.require_answer()
        self.cut(len(self.conversation) - 1)
        self.keeper.amended(text)
        self.conversation = self.conversation.add(Message(Role.ASSISTANT, text))

    def again(self, cancel: Cancel) -> Iterator[Chunk]:
        """Yield another answer to the person's last turn, or its first. The one before stays in the tree.

        Where nothing is said, the answer before it stands again. Raises UsageError where there is no turn,
        and as `send` does.
        """
        back = self._here()
        if not self.is_unanswered:
            self.require_answer()
            self.cut(len(self.conversation) - 1)
        return self._answer(self.conversation, cancel, Message(Role.ASSISTANT, ""), back)

    @property
    def is_unanswered(self) -> bool:
        """Whether the last turn is the person's, as after a crash before the answer began."""
        return len(self.conversation) > self.root and self.conversation.messages[-1].role is Role.USER

    def require_answer(self) -> None:
        """Raise UsageError where the last turn is no answer to the person."""
        said = self.conversation.messages
        if len(said) <= len(self.opening) or said[-1].role is not Role.ASSISTANT:
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
            for chunk in self.engine.stream(messages.messages, self.options.options, cancel):
                new += chunk.text
                if new:
                    self.keeper.said(prefill + new)
                if chunk.completion is not None:
                    self.last = chunk.completion
                yield chunk
        except Exception:
            failed = True
            raise
        except Interrupted:
            killed = True  # the question stays, to be answered another time
            raise
        finally:
            ended = self.last is not None and self.last.finish_reason is not FinishReason.CANCELLED
            if new or (ended and not goes_on):
                turn_ids = self.last.turn_ids if self.last is not None else None
                self.conversation = asked.add(Message(Role.ASSISTANT, prefill + new, turn_ids))
                state = _state(self.last, failed=failed)
                self.keeper.ended(prefill + new, state, self.last, self.engine.name, self.options.options)
            elif not killed:
                take_back()

    def cut(self, length: int) -> None:
        """Stand behind the first `length` messages. What came after them stays in the tree."""
        self.conversation = Conversation(self.conversation.messages[:length])
        self.keeper.stand(self.keeper.path[: max(0, length - self.root)])

    def _here(self) -> Callable[[], None]:
        """Return what comes back to where the conversation stands now."""
        conversation, path = self.conversation, tuple(self.keeper.path)

        def back() -> None:
            self.conversation = conversation
            # The greeting is written down with the first turn: it stays where that one is taken back.
            self.keeper.stand(path or self.keeper.path[: len(conversation) - self.root])

        return back

    @property
    def root(self) -> int:
        """How many messages come before the tree: system prompt and examples, not the greeting."""
        return len(before_the_tree(self.opening))

    @property
    def cut_short(self) -> str:
        """Why the last answer ended before the model wanted it to, in words; empty where it did not."""
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
        """Go back to the opening: system prompt, examples and greeting stay."""
        self.conversation = self.opening
        self.keeper.begin(self.opening)

    def restart(self, opening: Conversation) -> None:
        """Begin a new conversation under another opening, as with another persona."""
        self.opening = self.conversation = opening
        self.keeper.begin(opening)

    def resume(self, opening: Conversation, turns: Sequence[Message]) -> None:
        """Go on behind the turns of an earlier conversation. The keeper is told by whoever found it."""
        self.opening = opening
        self.conversation = opening.add(*turns)

    def set_system(self, text: str | None) -> None:
        """Change the system prompt for what comes; the turns stay."""
        self.opening = self.opening.with_system(text)
        self.conversation = self.conversation.with_system(text)
        self.keeper.change_opening(self.opening)


def _state(done: Completion | None, *, failed: bool) -> State:
    """Return how a reply ended. One whose reader went away was stopped, too."""
    if failed:
        return State.FAILED
    return State.STOPPED if done is None or done.finish_reason is FinishReason.CANCELLED else State.COMPLETE
