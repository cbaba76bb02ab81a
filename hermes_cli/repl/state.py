"""What a running REPL holds: session, persona, streams, and whether it should go on."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.personas.persona import Persona
from hermes_cli.repl.host import Host
from hermes_cli.screen.terminal import Terminal

Answering = Callable[[Cancel], Iterator[Chunk]]
"""Begins an answer that can be cancelled."""


@dataclass
class State:
    """The REPL as slash commands see it.

    `persona_from` is where the choice of persona came from; `statistics` whether answers say what they cost.
    `suggestion` stands in the prompt next, to be changed; `instead` takes the next line, which is then not
    sent. The loop puts in how a greeting is printed, how an answer is streamed, and how the last turns are
    shown; the prompt, how what was typed is forgotten.
    """

    terminal: Terminal
    session: Session
    persona: Persona
    persona_from: str
    host: Host
    statistics: bool = False
    running: bool = True
    suggestion: str = ""
    instead: Callable[[str], None] | None = None
    exit_code: int = 0
    greet: Callable[[], None] = field(default=lambda: None)
    answer: Callable[[Answering], None] = field(default=lambda _make: None)
    recall: Callable[[int], None] = field(default=lambda _count: None)
    forget_typed: Callable[[Collection[str]], None] = field(default=lambda _texts: None)

    def show(self, text: str) -> None:
        """Print what was asked for: on standard error, so that standard output holds answers alone."""
        self.terminal.plain(text)

    def notice(self, text: str) -> None:
        """Print a remark, dim."""
        self.terminal.notice(text)
