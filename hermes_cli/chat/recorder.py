"""Saves the turns of a session while they are generated, so that a crash loses at most a second of an answer.

Without a store, nothing is saved.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

from hermes_cli.engines.base import Completion
from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Opening, Role, TurnIds
from hermes_cli.options import GenerationOptions
from hermes_cli.store.records import GenerationRecord, MessageState, SavedSettings, StoredConversation
from hermes_cli.store.store import Store

INTERVAL_S = 1.0
"""Seconds between two writes of an answer that is still being generated."""


def _ignore(_error: StoreError) -> None:
    """Ignore the error."""


class Recorder:
    """Saves one conversation at a time. `path` holds the ids of the visible turns, oldest first.

    If the store fails, `on_failure` is called once and nothing more is saved; the conversation itself
    continues. `persona` is saved with the conversation, `precision` with each answer, besides the model.
    """

    def __init__(
        self, store: Store | None = None, on_failure: Callable[[StoreError], None] = _ignore
    ) -> None:
        self.store = store
        self.on_failure = on_failure
        self.persona = ""
        self.precision = ""
        self.conversation: int | None = None
        self.left_behind: tuple[Store, int] | None = None
        """The store and id of the part on disk, if the conversation was saved before it moved to memory."""
        self.path: list[int] = []
        self.greeting = 0
        """Index of the visible greeting, until the conversation is saved."""
        self._opening = Opening()
        self._setting = SavedSettings()
        self._reply: int | None = None
        self._written_at = 0.0

    def close(self) -> None:
        """Close the store. Nothing can be saved afterwards."""
        if self.store is not None:
            self.store.close()

    def begin(self, opening: Opening) -> None:
        """Start a new conversation. It is saved with its first turn; an empty conversation is never saved."""
        if self.store is not None and self.conversation is not None:
            self.store.locks.keep_only(None)
        self._opening, self.greeting, self._setting = opening, 0, SavedSettings()
        self.conversation, self.path, self._reply, self.left_behind = None, [], None, None

    def resume(self, conversation: StoredConversation, path: Sequence[int]) -> None:
        """Continue a conversation that is in the store."""
        self.conversation, self.path, self._reply = conversation.id, list(path), None
        if self.store is not None:
            self.store.locks.keep_only(conversation.id)

    def change_opening(self, opening: Opening) -> None:
        """Save a new opening for the same turns, for example after a change of the system prompt."""
        self._opening = opening
        if self.conversation is not None:
            number = self.conversation
            self._try(lambda store: store.set_opening(number, opening.before))

    def change_setting(self, setting: SavedSettings) -> None:
        """Save the settings of the conversation: names, seed, note, summaries."""
        self._setting = setting
        if self.conversation is not None:
            number = self.conversation
            self._try(lambda store: store.set_setting(number, setting))

    def asked(self, text: str) -> None:
        """Save the user's turn. It is on the disk when this returns, before the answer begins."""
        self._reply = None
        self._try(lambda store: self._add(store, Message(Role.USER, text)))

    def said(self, text: str) -> None:
        """Save the answer so far, unless it was saved less than INTERVAL_S ago."""
        now = time.monotonic()
        if self._reply is None:
            self._try(lambda store: self._begin_reply(store, text))
        elif now - self._written_at >= INTERVAL_S:
            reply = self._reply
            self._try(lambda store: store.grow(reply, text))
        else:
            return
        self._written_at = now

    def ended(
        self, text: str, state: MessageState, done: Completion | None, model: str, options: GenerationOptions
    ) -> None:
        """Save the finished answer and its statistics. `done` is None if the answer broke off."""
        made = _made(done, model, self.precision, options)

        def write(store: Store) -> None:
            if self._reply is None:
                self._begin_reply(store, text)
            if self._reply is not None:
                store.end(self._reply, text, state, made)

        self._try(write)
        self._reply = None

    def amended(self, text: str) -> None:
        """Save an answer that the user wrote."""
        self._reply = None
        self._try(lambda store: self._add(store, Message(Role.ASSISTANT, text)))

    def stand(self, path: Sequence[int]) -> None:
        """Make another path of the tree the visible one. Nothing is deleted."""
        self.path, self._reply = list(path), None
        if self.conversation is not None:
            number, leaf = self.conversation, self.path[-1] if self.path else None
            self._try(lambda store: store.move(number, leaf))

    def _begin_reply(self, store: Store, text: str) -> None:
        # A signal may have arrived after the commit and before the id was noted: reuse the partial answer.
        growing = store.growing(self.path[-1]) if self.path else None
        if growing is None:
            self._add(store, Message(Role.ASSISTANT, text), MessageState.PARTIAL)
        else:
            self.path.append(growing)
        self._reply = self.path[-1]

    def _add(self, store: Store, message: Message, state: MessageState = MessageState.COMPLETE) -> None:
        if self.conversation is None:
            greetings = [Message(Role.ASSISTANT, text) for text in self._opening.greetings]
            self.conversation, self.path = store.begin_with(
                self._opening.before, self.persona, [message], greetings, self.greeting, setting=self._setting
            )
        else:
            parent = self.path[-1] if self.path else None
            self.path.append(store.add(self.conversation, parent, message, state))

    def _try(self, write: Callable[[Store], None]) -> None:
        if self.store is None:
            return
        try:
            write(self.store)
        except StoreError as error:
            self.store = None
            self.on_failure(error)


def _made(
    done: Completion | None, model: str, precision: str, options: GenerationOptions
) -> GenerationRecord:
    given = dataclasses.asdict(options)
    if done is None:
        return GenerationRecord(model, precision, given)
    usage, timings = done.usage, done.timings
    ids: TurnIds | None = done.turn_ids
    return GenerationRecord(
        model,
        precision,
        given,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        timings.prefill_s,
        timings.decode_s,
        ids,
    )
