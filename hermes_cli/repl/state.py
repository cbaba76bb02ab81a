"""The state of a running REPL, and the interface of the program that hosts it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hermes_cli.chat.input_text import Attachment
from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Cancel, Chunk, RequestCancelled
from hermes_cli.errors import HermesError, UsageError, as_hermes_error
from hermes_cli.options import LayeredOptions
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.persona import Persona
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.screen.render import Renderer, renderer
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.untrusted.deadline import Deadline
from hermes_cli.user_personas import UserPersona

if TYPE_CHECKING:  # answer_printer imports this module; history imports prompt_toolkit
    from hermes_cli.repl.answer_printer import AnswerPrinter
    from hermes_cli.repl.history import TypedLines

FEW_TOKENS = 8
COUNT_AT_THE_PROMPT_S = 1.0
"""The longest wait for a server that counts tokens while the prompt is shown, which reads no keys then."""

StartAnswer = Callable[[Cancel], Iterator[Chunk]]
"""Starts an answer that the argument can cancel, and yields its chunks."""


class Host(Protocol):
    """The program that hosts the REPL: it opens personas and models by name, and applies the flags."""

    @property
    def is_saving_disabled(self) -> bool:
        """Whether messages, typed lines and system prompts must not be written to disk."""

    @property
    def prefills_ahead(self) -> bool:
        """Whether prompts may be evaluated while the user types."""

    def stop_saving(self) -> None:
        """Stop writing to disk for the rest of the run."""

    def find_persona(self, name: str) -> Persona:
        """Return the persona with that name or from that file. Raises PersonaError if there is none."""

    def earlier_personas(self, conversation: StoredConversation) -> list[Persona | None]:
        """Return the personas of a stored conversation; None for each that is gone, after a notice."""

    def persona_names(self) -> Mapping[str, str]:
        """Return the description of each persona, or the error in its file, by name."""

    def open_member(self, persona: Persona) -> tuple[Member, Deadline]:
        """Return the persona as the only member of a new conversation, and the deadline of its first turn."""

    def users(self) -> Mapping[str, UserPersona]:
        """Return the user personas of the config file by key."""

    def use_user(self, name: str) -> UserPersona:
        """Return the user persona with that key or name, and use it in later conversations of this run."""

    def add_lore(self, persona: Persona, entry: LoreEntry) -> Path:
        """Add an entry to the user's lorebook for a persona, and return the path of the lorebook."""

    def options_for(self, persona: Persona) -> LayeredOptions:
        """Return the generation options for the persona. Raises UsageError as `check_options` does."""

    def check_options(self, layered: LayeredOptions) -> None:
        """Raise UsageError if the current model does not support an option that is set."""

    def options_left_to_server(self) -> list[str]:
        """Return the options that the current model's server decides, because it does not have them."""

    def model_names(self) -> Mapping[str, str]:
        """Return a one-line description of each model here and each server of the config file, by name."""

    def current_model(self) -> str:
        """Return the name in `model_names` of the current model."""

    def model_line(self) -> str:
        """Return the model's name and precision, for the toolbar."""

    def plan_line(self) -> str:
        """Return a summary of the model's plan in one line: precision, device, memory, context."""

    def describe_model(self) -> str:
        """Return a summary of the model's plan, and the reason for it."""

    def load_smaller(self, session: Session) -> None:
        """Offer a smaller plan after loading the model ran out of memory."""

    def use_model(self, name: str, session: Session, persona: Persona) -> None:
        """Switch the session to another model. If that fails or is interrupted, reload the previous one.

        Raises HermesError with the reason.
        """

    def use_context(self, size: int, session: Session) -> None:
        """Reload the model with a context window of `size` tokens. If that fails, reload it as it was.

        Raises HermesError with the reason.
        """


@dataclass
class ReplState:
    """The state of the REPL that slash commands read and change.

    `persona_from` is where the persona was chosen. With `statistics`, statistics are printed after each
    answer, and with `shows_reasoning`, the reasoning before it. With `plain`, Markdown is not rendered. With
    `multiline`, Enter begins a new line. The `attached` files are sent with the next message. The next prompt
    is filled with `suggestion`, and with `in_editor` the user's editor opens it. If `next_line_handler` is
    set, the next line is passed to it and not sent. `was_stopped` is set after Ctrl-C stopped an answer,
    until the next prompt appears.

    `printer` prints turns. `history` is the input history, or None in a pipe.
    """

    terminal: Terminal
    session: Session
    persona_from: str
    host: Host
    printer: "AnswerPrinter"
    history: "TypedLines | None" = None
    statistics: bool = False
    running: bool = True
    shows_reasoning: bool = False
    plain: bool = False
    multiline: bool = False
    attached: list[Attachment] = field(default_factory=list)
    suggestion: str = ""
    in_editor: bool = False
    was_stopped: bool = False
    next_line_handler: Callable[[str], None] | None = None
    exit_code: int = 0
    _counted: tuple[tuple[object, ...], int | None] | None = None
    _count_cancel: Cancel = field(default_factory=Cancel)

    @property
    def persona(self) -> Persona:
        """The persona of the first character, whose options apply."""
        return self.session.members[0].persona

    def greet(self, first: int = 0) -> None:
        """Print the greetings of the characters, if they have any, from the message at index `first` on."""
        self.printer.greet(self, first)

    def answer(self, start: StartAnswer, prefix: str = "") -> None:
        """Print an answer while it is generated, after the text `prefix`, and those of other characters."""
        if self.loading is not None:
            self.loading.retry()
        self.printer.answer(self, start, prefix)
        while self.session.waiting:
            self.printer.answer(self, lambda cancel: self.session.talk(self.session.waiting[0], cancel))

    def print_last_turns(self, count: int) -> None:
        """Print the last `count` visible turns, if the user is at a terminal."""
        self.printer.print_last_turns(self, count)

    @property
    def store(self) -> Store:
        """The store of the conversations. Raises UsageError if this run has none."""
        store = self.session.recorder.store
        if store is None:
            raise UsageError("conversations are not saved in this run")
        return store

    def saved_conversation(self) -> tuple[Store, int]:
        """Return the store and the id of this conversation. Raises UsageError if it has no messages yet."""
        number = self.session.recorder.conversation
        if number is None:
            raise UsageError("there are no messages yet", "send a message first")
        return self.store, number

    @property
    def loading(self) -> BackgroundEngine | None:
        """The engine if its model is still loading or failed to load, otherwise None."""
        engine = self.session.engine
        if isinstance(engine, BackgroundEngine) and (engine.is_loading() or engine.failure):
            return engine
        return None

    def print_engine_notices(self) -> None:
        """Print the notices from loading the model on a thread."""
        engine = self.session.engine
        while isinstance(engine, BackgroundEngine) and engine.notices:
            self.notice(engine.notices.pop(0))

    def prefill_ahead(self) -> None:
        """Start to evaluate the next prompt up to the user's turn, unless the settings say not to."""
        if self.host.prefills_ahead and self.context_used() is not None:
            with suppress(HermesError, RequestCancelled):  # sending a message shows the error
                self.session.prefill_ahead(Cancel(COUNT_AT_THE_PROMPT_S))

    def context_used(self, limit_s: float = COUNT_AT_THE_PROMPT_S) -> int | None:
        """Return the number of tokens in the prompt. The count is repeated only after a change.

        Return None if the model is not loaded yet, if counting fails, and if a server has not counted before
        `limit_s` seconds or `stop_count`. Sending a message shows the error.
        """
        if self.loading is not None:
            return None
        session = self.session
        inputs = (
            session.conversation,
            session.engine,
            session.prompt_settings,
            session.summaries,
            session.options,
        )
        if self._counted is None or any(a is not b for a, b in zip(self._counted[0], inputs, strict=True)):
            self._count_cancel = Cancel(limit_s)
            try:
                tokens = self.session.assembled(cancel=self._count_cancel).tokens
            except (HermesError, RequestCancelled):
                tokens = None
            self._counted = inputs, tokens
        return self._counted[1]

    def stop_count(self) -> None:
        """End a count of `context_used` that waits for a server."""
        self._count_cancel.set()

    def print_next_speaker(self) -> None:
        """In a group, print whose prompt is shown: that of the character who speaks next."""
        if name := self.session.speaking:
            self.notice(f"For {sanitize_line(name)}, who speaks next:")

    @property
    def speed(self) -> float | None:
        """Tokens per second of the last answer, or None if it has fewer than FEW_TOKENS tokens."""
        done = self.session.last
        if done is None or done.usage.completion_tokens < FEW_TOKENS or done.timings.decode_s <= 0:
            return None
        return (done.usage.completion_tokens - 1) / done.timings.decode_s

    def remarks(self) -> tuple[str, ...]:
        """Return short remarks on settings that differ from the default."""
        store = self.session.recorder.store  # in memory after the disk has failed
        remarks = {
            "not saved": self.host.is_saving_disabled or (store is not None and store.file is None),
            f"{pluralize(len(self.attached), 'file')} attached": bool(self.attached),
            "Alt-Enter sends": self.multiline,
            "plain": self.plain,
        }
        return tuple(remark for remark, applies in remarks.items() if applies)

    def suggest(self, text: str) -> None:
        """Fill the next prompt with the text of a turn, to be edited or sent."""
        self.suggestion = f"/{text}" if text.startswith("/") else text

    def edit(self, text: str, replace: Callable[[str], None]) -> None:
        """Fill the next prompt with the text, and call `replace` with the line that the user enters."""
        self.suggest(text)
        self.in_editor = True
        self.next_line_handler = replace
        self.notice("The next line replaces it; an empty line changes nothing.")

    def fail(self, error: Exception) -> None:
        """Print an error and its hint."""
        known = as_hermes_error(error)
        self.terminal.error(known.message)
        if known.hint:
            self.notice(f"  {known.hint}")

    def renderer(self) -> Renderer:
        """Return a renderer for the model's next turn."""
        return renderer(self.terminal, plain=self.plain, speech=self.persona.is_roleplay)

    def show(self, text: str) -> None:
        """Print requested information on standard error, so that standard output holds only answers."""
        self.terminal.prose(text)

    def show_rows(self, rows: Sequence[Sequence[str]], if_empty: str = "") -> None:
        """Print rows in columns, or the notice `if_empty` if there are none."""
        if rows:
            self.terminal.rows(columns(rows, indent="  "))
        elif if_empty:
            self.notice(if_empty)

    def notice(self, text: str) -> None:
        """Print a dimmed notice."""
        self.terminal.notice(text)
