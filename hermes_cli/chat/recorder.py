"""Saves a session's tree as it grows, so that a crash loses at most a second of an answer."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from hermes_cli.engines.base import Completion, FinishReason
from hermes_cli.errors import StoreError
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions
from hermes_cli.store.records import SavedSettings, StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.tree import GenerationRecord, MessageState, Node, Tree

INTERVAL_S = 1.0
"""Seconds between two writes of an answer that is still being generated."""


class Recorder:
    """Saves one conversation at a time in a store. Without a store, nothing is saved.

    If the store fails, `on_failure` is called, and a store in memory replaces it. `persona` is saved with the
    conversation.
    """

    def __init__(
        self, store: Store | None = None, on_failure: Callable[[StoreError], None] = lambda _error: None
    ) -> None:
        self.store = store
        self.on_failure = on_failure
        self.persona = ""
        self._precision, self._server = "", ""
        self.question = ""
        """The part of the first turn that becomes the title, or an empty string for the whole turn."""
        self.conversation: int | None = None
        """The id of the conversation in the store, or None if it is not saved yet."""
        self.left_on_disk: tuple[Store, int] | None = None
        """The store and id of the saved part of a conversation that was moved from disk to memory."""
        self._tree = Tree()
        self._count_on_disk = 0
        self._has_moved = False
        """Whether a store in memory replaced the one on disk."""
        self._title = ""
        self._opening = Opening()
        self._settings = SavedSettings()
        self._rows: dict[int, int] = {}
        """Maps the id of each saved node to its id in the store."""
        self._first_turn = 0
        """The id of the node whose saving began the conversation, or 0 if it was begun earlier."""
        self._partial: int | None = None
        self._written_at = 0.0

    def close(self) -> None:
        """Close the store. Nothing can be saved afterwards."""
        if self.store is not None:
            self.store.close()

    def begin(self, tree: Tree, opening: Opening, title: str = "") -> None:
        """Start recording a new conversation, which is not saved before its first turn.

        If `title` is empty, the first turn becomes the title. A tree that has turns is a copy of the earlier
        conversation.
        """
        if self.store is not None and self.conversation is not None:
            self.store.locks.keep_only(None)
        self._tree, self._title = tree, title
        is_copy = any(node.role is Role.USER for node in tree.nodes)
        server = self._settings.server if is_copy else ""
        self._opening, self._settings = opening, SavedSettings(server=server)
        self.conversation, self._rows, self._partial, self._first_turn = None, {}, None, 0
        self.left_on_disk, self._count_on_disk = None, 0

    def resume(self, stored: StoredConversation) -> tuple[Tree, SavedSettings]:
        """Continue recording a stored conversation; return its tree and settings. Raises StoreError."""
        if self.store is None:
            raise StoreError("no conversations are saved in this run")
        nodes = self.store.tree(stored.id)
        self._tree = Tree.from_nodes(nodes, stored.leaf)
        self._rows = {node.id: row.id for node, row in zip(self._tree.nodes, nodes, strict=True)}
        self.conversation, self._partial, self._first_turn = stored.id, None, 0
        self.left_on_disk, self._count_on_disk = None, 0
        self.store.locks.keep_only(stored.id)
        ids = {row: number for number, row in self._rows.items()}
        self._settings = stored.setting.renumbered(ids)
        return self._tree, self._settings

    def move_to_memory(self) -> int:
        """Save this conversation and later ones only in memory.

        The messages that are already on disk stay there; return their number. If saving has already stopped,
        because of a failure or by an earlier call, only return the number.
        """
        if self._has_moved:
            return self._count_on_disk
        store, number = self.store, self.conversation
        if store is not None and store.file is not None:
            self._count_on_disk = len(self._rows) + (self._partial is not None)
        self._has_moved = True
        self.store, self.conversation, self._rows, self._partial = Store(), None, {}, None
        if store is not None and number is not None:
            self.left_on_disk = store, number
            store.locks.release()
            with suppress(StoreError):  # the disk itself may have failed
                stored = store.conversation(number)
                self._title = stored.title if stored and stored.is_named else ""
            self._save(self.store)
        return self._count_on_disk

    def change_opening(self, opening: Opening) -> None:
        """Save a new opening for the same turns, for example after a change of the system prompt."""
        self._opening = opening
        if self.conversation is not None:
            number = self.conversation
            self._try(lambda store: store.set_opening(number, opening.before))

    @property
    def saved_variables(self) -> tuple[tuple[str, str], ...]:
        """The saved variables of the conversation."""
        return self._settings.variables

    def change_persona(self, persona: str, opening: Opening) -> None:
        """Save another persona and its opening for the same turns."""
        self.persona, self._opening = persona, opening
        if self.conversation is not None:
            number = self.conversation
            self._try(lambda store: store.set_persona(number, persona, opening.before))

    def set_model(self, precision: str, server: str) -> None:
        """Set what is saved with the next answers: the precision, and the argument of -m for a server."""
        self._precision, self._server = precision, server

    def change_settings(self, settings: SavedSettings) -> None:
        """Save the settings of the conversation: the user's name, seed, note and summaries."""
        self._change_settings(settings._replace(server=self._settings.server))

    def _change_settings(self, settings: SavedSettings) -> None:
        self._settings = settings
        if self.conversation is not None:
            number = self.conversation
            saved = settings.renumbered(self._rows)
            self._try(lambda store: store.set_setting(number, saved))

    def save(self) -> None:
        """Save the nodes that are not saved yet. They are on disk when this method returns."""
        self._partial = None
        self._try(self._save)

    def grow(self, answer: Message) -> None:
        """Save the answer so far below the cursor, unless it was saved less than INTERVAL_S ago."""
        now = time.monotonic()
        if self._partial is None:
            self._try(lambda store: self._begin_partial(store, answer))
        elif now - self._written_at >= INTERVAL_S:
            partial = self._partial
            self._try(lambda store: store.grow(partial, answer.text))
        else:
            return
        self._written_at = now

    def finish(self, answer: Node) -> None:
        """Save the finished answer, with its state and its statistics."""

        def write(store: Store) -> None:
            if self._partial is None:
                self._save(store)
            else:
                store.end(self._partial, answer.text, answer.state, answer.generation)
                self._rows[answer.id] = self._partial

        self._try(write)
        self._partial = None
        if self._settings.server != self._server:
            self._change_settings(self._settings._replace(server=self._server))

    def move(self) -> None:
        """Save the position of the cursor."""
        self._partial = None
        if self.conversation is not None:
            number = self.conversation

            def write(store: Store) -> None:
                self._save(store)  # a signal may have interrupted an earlier save
                store.move(number, self._rows.get(self._tree.cursor or 0))

            self._try(write)

    def hide(self, node: Node) -> None:
        """Save whether a node is left out of prompts."""
        row = self._rows.get(node.id)
        if row is not None:  # otherwise it is saved later, with this value
            self._try(lambda store: store.set_hidden(row, is_hidden=node.is_hidden))

    def withdraw(self, turn: int) -> None:
        """Remove a user's turn from the store, after it was removed from the tree.

        If saving it began the conversation, remove the conversation too: it has only greetings.
        """
        row, number = self._rows.pop(turn, None), self.conversation
        if row is None or number is None:
            return
        if turn == self._first_turn:
            self.conversation, self._rows = None, {}
            self._try(lambda store: store.withdraw_conversation(number))
        else:
            leaf = self._rows.get(self._tree.cursor or 0)
            self._try(lambda store: store.withdraw(number, row, leaf))

    def generation_record(
        self, model: str, options: GenerationOptions, completion: Completion | None, reasoning: str
    ) -> GenerationRecord:
        """Return the record of a generation. Its counts and times are 0 if it did not finish."""
        completion = completion or Completion(FinishReason.CANCELLED)
        usage, timings = completion.usage, completion.timings
        return GenerationRecord(
            model,
            self._precision,
            asdict(options),
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            timings.prefill_s,
            timings.decode_s,
            completion.turn_ids,
            reasoning,
        )

    def _begin_partial(self, store: Store, answer: Message) -> None:
        self._save(store)
        parent = self._rows[self._tree.path[-1].id]
        # A signal may have interrupted this method after the commit: reuse the partial answer.
        self._partial = store.growing(parent)
        if self._partial is None:
            record = GenerationRecord(reasoning=answer.reasoning or "")
            self._partial = store.add(self.conversation or 0, parent, answer, MessageState.PARTIAL, record)

    def _save(self, store: Store) -> None:
        if self.conversation is None:
            self.conversation = store.begin(
                self._opening.before,
                self.persona,
                self._tree,
                self._settings,
                title=self._title,
                question=self.question,
                lock=True,
            )
            self._first_turn = len(self._tree)
            rows = (row.id for row in store.tree(self.conversation))
            self._rows = dict(zip((node.id for node in self._tree.nodes), rows, strict=True))
        for node in self._tree.nodes[len(self._rows) :]:
            parent = self._rows.get(node.parent or 0)
            self._rows[node.id] = store.add(
                self.conversation,
                parent,
                node.message,
                node.state,
                node.generation,
                is_hidden=node.is_hidden,
            )

    def _try(self, write: Callable[[Store], None]) -> None:
        if self.store is None:
            return
        try:
            write(self.store)
        except StoreError as error:
            self.move_to_memory()
            self.on_failure(error)
