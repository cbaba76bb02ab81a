"""Session: takes a user's turn, streams the answer, and keeps both, however the answer ends.

It knows the order in which turns come to be and what is kept of a broken one. It refuses to know how text
is typed in, how it looks, and where it is stored.
"""

from collections.abc import Iterator

from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason
from hermes_cli.messages import Conversation, Message, Role
from hermes_cli.options import Sourced


class Session:
    """A conversation with one engine.

    `conversation` always holds whole exchanges: a user's turn is in it once its answer has begun. `opening`
    is what `clear` goes back to: system prompt, examples, greeting.
    """

    def __init__(self, engine: Engine, opening: Conversation, options: Sourced) -> None:
        self.engine = engine
        self.opening = opening
        self.conversation = opening
        self.options = options
        self.last: Completion | None = None

    def send(self, text: str, cancel: Cancel, prefill: str = "") -> Iterator[Chunk]:
        """Send a user's turn and yield the answer, which begins with `prefill`.

        What was said stays in the conversation, whether the answer ends, is cancelled, fails, or the
        iterator is closed. Where nothing was said at all, the user's turn is taken back too, so that it can
        be sent again. Raises what the engine raises; ContextOverflow leaves the conversation as it was.
        """
        before = self.conversation
        asked = before.add(Message(Role.USER, text))
        messages = asked.add(Message(Role.ASSISTANT, prefill)) if prefill else asked
        self.last = None
        new = ""
        try:
            for chunk in self.engine.stream(messages.messages, self.options.options, cancel):
                new += chunk.text
                if chunk.completion is not None:
                    self.last = chunk.completion
                yield chunk
        finally:
            ended = self.last is not None and self.last.finish_reason is not FinishReason.CANCELLED
            if new or ended:
                turn_ids = self.last.turn_ids if self.last is not None else None
                self.conversation = asked.add(Message(Role.ASSISTANT, prefill + new, turn_ids))

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

    def restart(self, opening: Conversation) -> None:
        """Begin a new conversation under another opening, as with another persona."""
        self.opening = self.conversation = opening

    def set_system(self, text: str | None) -> None:
        """Change the system prompt for what comes; the turns stay."""
        self.opening = self.opening.with_system(text)
        self.conversation = self.conversation.with_system(text)
