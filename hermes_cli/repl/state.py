"""The state of a running REPL, and the interface that it needs from the program around it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.errors import HermesError, UsageError, as_hermes_error
from hermes_cli.messages import Opening
from hermes_cli.options import LayeredOptions
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.persona import Persona
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.screen.render import Renderer, renderer
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.store import Store

if TYPE_CHECKING:  # the printer imports this module, and the history prompt_toolkit
    from hermes_cli.repl.answer_printer import AnswerPrinter
    from hermes_cli.repl.history import TypedLines

FEW_TOKENS = 8

StartAnswer = Callable[[Cancel], Iterator[Chunk]]
"""Starts an answer that can be cancelled, and yields its chunks."""


class Host(Protocol):
    """The program around the REPL: it opens personas and models by name, and knows the flags."""

    @property
    def is_saving_disabled(self) -> bool:
        """Whether messages, typed lines and system prompts must not be written to disk."""

    def stop_saving(self) -> None:
        """Write nothing to disk for the rest of the run."""

    def find_persona(self, name: str) -> Persona:
        """Return the persona with that name or from that file. Raises PersonaError if there is none."""

    def persona_names(self) -> Mapping[str, str]:
        """Return the name and description of every persona."""

    def open_with_persona(self, persona: Persona) -> tuple[Opening, PromptSettings]:
        """Return the opening of a conversation with the persona, and the other parts of its prompts."""

    def add_lore(self, persona: Persona, entry: LoreEntry) -> Path:
        """Write an entry into the user's own lorebook for a persona, and return the path of that file."""

    def options_for(self, persona: Persona) -> LayeredOptions:
        """Return the sampling options in force with the persona."""

    def model_names(self) -> Mapping[str, str]:
        """Return the installed models, with a line about each."""

    def model_line(self) -> str:
        """Return the model's name and precision, for the toolbar."""

    def plan_line(self) -> str:
        """Return the model's plan in one line: engine or precision, device, memory, context."""

    def describe_model(self) -> str:
        """Return the plan of the loaded model, and the reason for it."""

    def load_smaller(self, session: Session) -> None:
        """After a load that ran out of memory: ask whether to load a smaller form, and do so."""

    def use_model(self, name: str, session: Session) -> None:
        """Switch the session to another model. If that fails or is interrupted, the old one is restored.

        Raises HermesError with the reason.
        """


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is sent with the next message: its name, and its text below a line with the name."""

    name: str
    text: str


@dataclass
class ReplState:
    """The state of the REPL that slash commands read and change.

    `persona_from` is the source of the persona's choice. `statistics` prints statistics after each answer.
    `plain` prints answers without rendering Markdown. With `multiline`, Enter begins a new line. `attached`
    files are sent with the next message. The next prompt is filled with `suggestion`, which with `in_editor`
    also opens in the user's editor. `next_line_handler`, if set, gets the next line, which is then not sent.

    `printer` prints turns. `history` is the input history, or None in a pipe.
    """

    terminal: Terminal
    session: Session
    persona: Persona
    persona_from: str
    host: Host
    printer: "AnswerPrinter"
    history: "TypedLines | None" = None
    statistics: bool = False
    running: bool = True
    plain: bool = False
    multiline: bool = False
    attached: list[Attachment] = field(default_factory=list)
    suggestion: str = ""
    in_editor: bool = False
    next_line_handler: Callable[[str], None] | None = None
    exit_code: int = 0
    _counted: tuple[tuple[object, ...], int | None] | None = None

    def greet(self) -> None:
        """Print the persona's greeting, if it has one."""
        self.printer.greet(self)

    def answer(self, start: StartAnswer, prefix: str = "") -> None:
        """Print an answer while it is generated, after the text `prefix`."""
        self.printer.answer(self, start, prefix)

    def print_last_turns(self, count: int) -> None:
        """Print the last `count` turns of the path, if a user is at the terminal."""
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
        """The engine if its model is still loading or failed to load, else None."""
        engine = self.session.engine
        if isinstance(engine, BackgroundEngine) and (engine.is_loading() or engine.failure):
            return engine
        return None

    def print_engine_notices(self) -> None:
        """Print what was found while the model was loaded on a thread."""
        engine = self.session.engine
        while isinstance(engine, BackgroundEngine) and engine.notices:
            self.notice(engine.notices.pop(0))

    def context_used(self) -> int | None:
        """Return the number of tokens in the prompt; they are pluralize again only after a change.

        Return None while the model is not loaded, or if the count fails; sending a message shows the error.
        """
        if self.loading is not None:
            return None
        session = self.session
        of = (
            session.conversation,
            session.engine,
            session.prompt_settings,
            session.summaries,
            session.options,
        )
        if self._counted is None or any(a is not b for a, b in zip(self._counted[0], of, strict=True)):
            try:
                tokens = self.session.assembled().tokens
            except HermesError:
                tokens = None
            self._counted = of, tokens
        return self._counted[1]

    @property
    def speed(self) -> float | None:
        """Tokens per second of the last answer, or None if it had fewer than FEW_TOKENS."""
        done = self.session.last
        if done is None or done.usage.completion_tokens < FEW_TOKENS or done.timings.decode_s <= 0:
            return None
        return (done.usage.completion_tokens - 1) / done.timings.decode_s

    def remarks(self) -> tuple[str, ...]:
        """Return short texts about settings that differ from the default."""
        remarks = {
            f"{pluralize(len(self.attached), 'file')} attached": bool(self.attached),
            "Alt-Enter sends": self.multiline,
            "plain": self.plain,
            "not saved": self.host.is_saving_disabled,
        }
        return tuple(words for words, holds in remarks.items() if holds)

    def suggest(self, text: str) -> None:
        """Fill the next prompt with the text of a turn, to be edited or sent."""
        self.suggestion = f"/{text}" if text.startswith("/") else text

    def edit(self, text: str, replace: Callable[[str], None]) -> None:
        """Fill the next prompt with a text, and call `replace` with the line that is entered instead."""
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
        self.terminal.plain(text)

    def show_rows(self, rows: Sequence[Sequence[str]], if_empty: str = "") -> None:
        """Print rows in columns, or the remark `if_empty` if there are none."""
        if rows:
            self.terminal.rows(columns(rows, indent="  "))
        elif if_empty:
            self.notice(if_empty)

    def notice(self, text: str) -> None:
        """Print a dimmed remark."""
        self.terminal.notice(text)
