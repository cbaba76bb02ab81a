"""The loop: read a turn, obey it or send it, print the answer, until there are no more.

Ctrl-C stops an answer and keeps what was said; it never ends the loop. A turn that fails is said and the
loop goes on.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from hermes_cli.chat import branches
from hermes_cli.chat.statistics import statistics
from hermes_cli.chat.text import check_text
from hermes_cli.engines.base import Cancel, Completion, FinishReason
from hermes_cli.errors import HermesError, ReaderGone
from hermes_cli.messages import Role
from hermes_cli.repl import table
from hermes_cli.repl.state import Answering, State
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store import records

STUBBORN_PRESSES = 3
"""Ctrl-C this many times in one answer gives up on an engine that does not stop."""


class Reader(Protocol):
    """Where turns come from: a person at a prompt, or the lines of standard input."""

    def read(self) -> str | None:
        """Return the next turn, or None when there are no more."""


class Loop:
    """Runs a conversation. `person` is whether somebody types and reads here."""

    def __init__(self, state: State, reader: Reader, *, person: bool) -> None:
        self._state = state
        self._reader = reader
        self._person = person
        self._cancel: Cancel | None = None
        self._presses = 0
        self._obeying = False
        state.greet, state.answer, state.recall = self._greet, self._stream, self._recall

    def run(self) -> int:
        """Run until the end of input or `/exit`; return the exit code."""
        with self._ctrl_c():
            if self._state.session.keeper.path:
                turns = len(self._state.session.keeper.path)
                self._state.notice(f"(going on behind {turns} message{'' if turns == 1 else 's'})")
                self._recall(2)
                if self._state.session.is_unanswered:
                    self._state.notice("Your last turn has no answer yet; /regen gives it one.")
            else:
                self._greet()
            while self._state.running and self._round():
                pass
        return self._state.exit_code

    def _round(self) -> bool:
        """Read one turn and see to it; False at the end of input."""
        try:
            text = self._reader.read()
            if text is not None:
                self._turn(check_text(text, "the line"))
        except KeyboardInterrupt:
            self._state.notice("(stopped)")
        except HermesError as error:
            if isinstance(error, ReaderGone):
                raise
            self._fail(error)
        else:
            return text is not None
        return True

    def _fail(self, error: HermesError) -> None:
        """Say what went wrong. In a pipe it is remembered, too, for the exit code."""
        self._state.terminal.error(error.message)
        if error.hint:
            self._state.notice(f"  {error.hint}")
        if not self._person:
            self._state.exit_code = self._state.exit_code or error.exit_code

    def _turn(self, text: str) -> None:
        instead, self._state.instead = self._state.instead, None
        say = instead or self._say
        if text.startswith("//"):
            say(text[1:])
        elif text.startswith("/"):
            self._obey(text[1:])
        elif text.strip():
            say(text)
        elif instead:
            self._state.notice("(nothing is changed)")

    def _obey(self, line: str) -> None:
        name, *rest = line.split(maxsplit=1) or [""]
        command = table.find(name)
        if command is None:
            self._state.notice(table.nearest(sanitize_line(name)))
            return
        self._obeying = True
        try:
            command.run(self._state, rest[0].strip() if rest else "")
        finally:
            self._obeying = False

    def _say(self, text: str) -> None:
        self._stream(lambda cancel: self._state.session.send(text, cancel))

    def _stream(self, begin: Answering) -> None:
        """Print an answer as it comes. Ctrl-C stops it."""
        state, cancel = self._state, Cancel()
        self._cancel, self._presses = cancel, 0
        shown = ""
        try:
            for chunk in begin(cancel):
                if chunk.text:
                    if not shown:
                        self._name()
                    state.terminal.write(chunk.text)
                    shown += chunk.text
        finally:
            self._cancel = None
            if shown:
                state.terminal.write(self._after(shown))
        if state.session.last is not None:
            self._remark(state.session.last, shown=bool(shown))

    def _after(self, text: str) -> str:
        """Return what ends an answer: in a pipe one newline, for a person one empty line."""
        newlines = len(text) - len(text.rstrip("\n"))
        return "\n" * max(0, 2 - newlines) if self._person else "\n"

    def _remark(self, done: Completion, *, shown: bool) -> None:
        """Say what an answer's end means, where it is not the usual one."""
        session = self._state.session
        if done.finish_reason is FinishReason.CANCELLED:
            what = "what was said is kept" if shown else "nothing was said, so all is as it was before"
            self._state.notice(f"(stopped; {what})")
        elif session.cut_short:
            self._state.notice(f"(cut: {session.cut_short})")
        elif not shown:
            self._state.notice("(the model had nothing to say)")
        if self._state.statistics:
            self._state.notice(f"({statistics(done)})")

    def _name(self) -> None:
        if self._person:
            self._state.terminal.speaker(self._state.persona.name)

    def _greet(self) -> None:
        """Print the persona's greeting, where it has one, as its own turn."""
        opening = self._state.session.opening.messages
        if opening and opening[-1].role is Role.ASSISTANT and self._state.persona.greeting is not None:
            self._name()
            self._state.terminal.write(opening[-1].text + self._after(opening[-1].text))

    def _recall(self, count: int) -> None:
        """Show a person the last turns that are visible."""
        if not self._person:
            return
        for message in branches.last_messages(self._state.session, count):
            if message.role is Role.ASSISTANT:
                self._name()
                self._state.terminal.write(message.text + self._after(message.text))
                if message.state is not records.State.COMPLETE:
                    self._state.notice(f"({message.state})")
            else:
                self._state.notice(f"> {message.text}")

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """Take Ctrl-C for the length of the loop where a person sits here; in a pipe it ends the program."""
        if not self._person or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _pressed(self, _number: int, _frame: FrameType | None) -> None:
        """Stop the answer or the command that runs. Between the two there is nothing to stop."""
        if self._cancel is not None:
            self._presses += 1
            self._cancel.set()
        if (self._obeying and self._cancel is None) or self._presses >= STUBBORN_PRESSES:
            self._presses = 0
            raise KeyboardInterrupt
