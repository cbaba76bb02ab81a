"""What a running REPL holds: session, persona, streams, and whether it should go on."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from hermes_cli.chat.session import Session
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.errors import HermesError, translated
from hermes_cli.personas.persona import Persona
from hermes_cli.repl.host import Host
from hermes_cli.screen.columns import columns
from hermes_cli.screen.render import Renderer, renderer
from hermes_cli.screen.terminal import Terminal

FEW_TOKENS = 8

Answering = Callable[[Cancel], Iterator[Chunk]]
"""Begins an answer that can be cancelled."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with the next message: its name, and its text under it."""

    name: str
    text: str


@dataclass
class State:
    """The REPL as slash commands see it.

    `persona_from` is where the choice of persona came from; `statistics` whether answers say what they cost.
    `suggestion` stands in the prompt next, to be changed; `instead` takes the next line, which is then not
    sent. The loop puts in how a greeting is printed, how an answer is streamed behind a text, and how the
    last turns are shown; the prompt, how what was typed is forgotten.

    `plain` shows answers as they are, without Markdown; with `multiline` Enter begins a new line. `attached`
    goes with the next message. `in_editor` opens the suggestion in the person's editor.
    """

    terminal: Terminal
    session: Session
    persona: Persona
    persona_from: str
    host: Host
    statistics: bool = False
    running: bool = True
    plain: bool = False
    multiline: bool = False
    attached: list[Attachment] = field(default_factory=list)
    suggestion: str = ""
    in_editor: bool = False
    instead: Callable[[str], None] | None = None
    exit_code: int = 0
    greet: Callable[[], None] = field(default=lambda: None)
    answer: Callable[[Answering, str], None] = field(default=lambda _make, _lead: None)
    recall: Callable[[int], None] = field(default=lambda _count: None)
    forget_typed: Callable[[Collection[str]], None] = field(default=lambda _texts: None)
    _counted: tuple[tuple[object, ...], int | None] | None = None

    @property
    def loading(self) -> BackgroundEngine | None:
        """The engine, while its model is being loaded or could not be."""
        engine = self.session.engine
        if isinstance(engine, BackgroundEngine) and (engine.is_loading() or engine.failure):
            return engine
        return None

    def context_used(self) -> int | None:
        """Return the tokens of what goes to the model, counted when it or the engine changes.

        None before the model is there, and where it cannot count them: whoever speaks to it is told why.
        """
        if self.loading is not None:
            return None
        session = self.session
        of = (session.conversation, session.engine, session.frame, session.summaries, session.options)
        if self._counted is None or any(a is not b for a, b in zip(self._counted[0], of, strict=True)):
            try:
                tokens = self.session.assembled().tokens
            except HermesError:
                tokens = None
            self._counted = of, tokens
        return self._counted[1]

    @property
    def speed(self) -> float | None:
        """Tokens a second of the last answer; None where it had too few to tell."""
        done = self.session.last
        if done is None or done.usage.completion_tokens < FEW_TOKENS or done.timings.decode_s <= 0:
            return None
        return (done.usage.completion_tokens - 1) / done.timings.decode_s

    def remarks(self) -> tuple[str, ...]:
        """Return what is not as usual, in words."""
        files = len(self.attached)
        remarks = {
            f"{files} file{'' if files == 1 else 's'} attached": bool(files),
            "Alt-Enter sends": self.multiline,
            "plain": self.plain,
            "nothing is kept": self.host.leaves_no_trace,
        }
        return tuple(words for words, holds in remarks.items() if holds)

    def suggest(self, text: str) -> None:
        """Have a text of a turn in the next line, to be changed or sent."""
        self.suggestion = f"/{text}" if text.startswith("/") else text

    def fail(self, error: Exception) -> None:
        """Say what went wrong."""
        known = translated(error)
        self.terminal.error(known.message)
        if known.hint:
            self.notice(f"  {known.hint}")

    def renderer(self) -> Renderer:
        """Return what shows the next turn of the model's."""
        return renderer(self.terminal, plain=self.plain, speech=self.persona.acts)

    def show(self, text: str) -> None:
        """Print what was asked for: on standard error, so that standard output holds answers alone."""
        self.terminal.plain(text)

    def show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows in columns."""
        self.terminal.rows(columns(rows, indent="  "))

    def notice(self, text: str) -> None:
        """Print a remark, dim."""
        self.terminal.notice(text)
