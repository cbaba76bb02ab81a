"""The state of a running REPL: session, persona, streams, and whether it continues."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermes_cli.chat.session import Session
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.errors import HermesError, UsageError, as_hermes_error
from hermes_cli.personas.persona import Persona
from hermes_cli.repl.host import Host
from hermes_cli.screen.columns import columns, counted
from hermes_cli.screen.render import Renderer, renderer
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.store import Store

if TYPE_CHECKING:  # the printer imports this module, and the history prompt_toolkit
    from hermes_cli.repl.answer_printer import AnswerPrinter
    from hermes_cli.repl.history import TypedLines

FEW_TOKENS = 8

Answering = Callable[[Cancel], Iterator[Chunk]]
"""Starts an answer that can be cancelled, and yields its chunks."""


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

    def answer(self, begin: Answering, prefix: str = "") -> None:
        """Print an answer while it is generated, after the text `prefix`."""
        self.printer.answer(self, begin, prefix)

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

    def context_used(self) -> int | None:
        """Return the number of tokens in the prompt; they are counted again only after a change.

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
            f"{counted(len(self.attached), 'file')} attached": bool(self.attached),
            "Alt-Enter sends": self.multiline,
            "plain": self.plain,
            "not saved": self.host.is_saving_disabled,
        }
        return tuple(words for words, holds in remarks.items() if holds)

    def suggest(self, text: str) -> None:
        """Fill the next prompt with the text of a turn, to be edited or sent."""
        self.suggestion = f"/{text}" if text.startswith("/") else text

    def fail(self, error: Exception) -> None:
        """Print an error and its hint."""
        known = as_hermes_error(error)
        self.terminal.error(known.message)
        if known.hint:
            self.notice(f"  {known.hint}")

    def renderer(self) -> Renderer:
        """Return a renderer for the model's next turn."""
        return renderer(self.terminal, plain=self.plain, speech=self.persona.acts)

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
