"""The loop: read a turn, run it as a command or send it, print the answer, until the input ends.

At a terminal, Ctrl-C stops an answer and keeps the text so far; it never ends the loop. If a turn fails, the
error is printed and the loop continues.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from hermes_cli.chat import branches
from hermes_cli.chat.input_text import check_text
from hermes_cli.chat.statistics import statistics, waited_for
from hermes_cli.engines.base import Cancel, Completion, FinishReason, Progress
from hermes_cli.errors import HermesError, ReaderGone, translated
from hermes_cli.messages import Role
from hermes_cli.repl import command_table
from hermes_cli.repl.line_reader import Line, TurnReader
from hermes_cli.repl.state import Answering, ReplState
from hermes_cli.screen.columns import counted
from hermes_cli.screen.render import Renderer
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.waiting import waiting
from hermes_cli.store import records

STUBBORN_PRESSES = 3
"""Presses of Ctrl-C during one answer after which an engine that does not stop is abandoned."""


class Loop:
    """Runs a conversation. `person` is true if a user types and reads at a terminal."""

    def __init__(self, state: ReplState, reader: TurnReader, *, person: bool) -> None:
        self._state = state
        self._reader = reader
        self._person = person
        self._cancel: Cancel | None = None
        self._presses = 0
        self._obeying = False
        self._heard = False
        self._progress: Progress | None = None
        state.greet, state.answer, state.recall = self._greet, self._stream, self._recall

    def run(self) -> int:
        """Run until the end of input or `/exit`; return the exit code."""
        with self._ctrl_c():
            if self._state.session.recorder.path:
                turns = len(self._state.session.recorder.path)
                self._state.notice(f"(going on behind {turns} message{'' if turns == 1 else 's'})")
                self._recall(2)
                if self._state.session.is_unanswered:
                    self._state.notice("Your last turn has no answer yet; /regen gives it one.")
            else:
                self._greet()
            while self._state.running and self._round():
                pass
        loading = self._state.loading
        if loading is not None and loading.failure is not None:
            return translated(loading.failure).exit_code
        return self._state.exit_code

    def _round(self) -> bool:
        """Read and process one turn; return False at the end of input."""
        try:
            line = self._reader.read()
            if line is not None:
                self._turn(replace(line, text=check_text(line.text, "the line")))
        except KeyboardInterrupt:
            self._state.notice("(stopped)")
        except HermesError as error:
            if isinstance(error, ReaderGone):
                raise
            self._fail(error)
        else:
            return line is not None
        return True

    def _fail(self, error: HermesError) -> None:
        """Print an error. In a pipe, the first error also sets the exit code."""
        self._state.fail(error)
        if not self._person:
            self._state.exit_code = self._state.exit_code or error.exit_code

    def _turn(self, line: Line) -> None:
        instead, self._state.instead = self._state.instead, None
        say = instead or self._say
        command = None if line.verbatim else command_table.command_line(line.text)
        if command is not None:
            self._obey(command)
        elif line.text.startswith("//") and not line.verbatim:
            say(line.text[1:])
        elif line.text.strip():
            say(line.text)
        elif instead:
            self._state.notice("(nothing is changed)")

    def _obey(self, line: str) -> None:
        name, *rest = line.split(maxsplit=1) or [""]
        command = command_table.find(name)
        if command is None:
            self._state.fail(command_table.nearest(sanitize_line(name)))
            return
        self._obeying = True
        try:
            command.run(self._state, rest[0].strip() if rest else "")
        except OSError as error:  # for example a file name that is too long
            self._fail(translated(error))
        finally:
            self._obeying = False

    def _say(self, text: str) -> None:
        state = self._state
        attached, state.attached = state.attached, []
        whole = "\n\n".join([*(one.text for one in attached), text])
        answered = False
        try:
            self._stream(lambda cancel: state.session.send(whole, cancel))
            last = state.session.last
            answered = last is not None and last.finish_reason is not FinishReason.CANCELLED
        finally:
            if self._person and not self._heard and not answered:  # offered again at the prompt
                state.suggest(text)
                state.attached = attached

    def _stream(self, begin: Answering, lead: str = "") -> None:
        """Print an answer while it is generated, after the text `lead`. Ctrl-C stops it."""
        state, cancel = self._state, Cancel()
        self._cancel, self._presses, self._heard = cancel, 0, False
        shows: Renderer | None = None
        self._progress = None
        try:
            with waiting(state.terminal, self._what_is_waited_for()) as heard:
                for chunk in begin(cancel):
                    self._progress = chunk.progress
                    if not chunk.text:
                        continue
                    if shows is None:
                        heard()
                        self._say_remarks()
                        shows = self._begin_turn()
                        shows.write(lead)
                    shows.write(chunk.text)
                    self._heard = True
        finally:
            self._cancel = None
            if shows is not None:
                self._end_turn(shows)
        self._say_remarks()
        done = state.session.last
        if done is not None:
            self._remark(done, shown=self._heard)

    def _say_remarks(self) -> None:
        """Print the session's remarks about parts of the conversation that were not sent to the model."""
        remarks = self._state.session.remarks
        while remarks:
            self._state.notice(remarks.pop(0))

    def _what_is_waited_for(self) -> Callable[[], str]:
        """Return a function that describes what the wait is for, and how long it has lasted."""
        began = time.monotonic()

        def words() -> str:
            loading = self._state.loading
            what = f"loading {loading.name}" if loading else waited_for(self._progress)
            back = "takes the message back" if loading else "stops it"
            return f"{what} · {time.monotonic() - began:.0f} s · Ctrl-C {back}"

        return words

    def _begin_turn(self) -> Renderer:
        if self._person:
            self._state.terminal.speaker(self._state.persona.name)
        return self._state.renderer()

    def _end_turn(self, shows: Renderer) -> None:
        """End a turn: with one newline in a pipe, with an empty line at a terminal."""
        shows.end()
        if self._person:
            self._state.terminal.write("\n")

    def _show_turn(self, text: str) -> None:
        shows = self._begin_turn()
        shows.write(text)
        self._end_turn(shows)

    def _remark(self, done: Completion, *, shown: bool) -> None:
        """Print why an answer ended, if it did not end normally, and its statistics, if they are on."""
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

    def _greet(self) -> None:
        """Print the persona's greeting, if it has one, as a turn."""
        session = self._state.session
        if not session.opening.greetings:
            return
        self._show_turn(session.conversation.messages[-1].text)
        others = len(session.opening.greetings) - 1
        if others and self._person:
            self._state.notice(f"({counted(others, 'other greeting')}: /swipe, or Alt-Right)")

    def _recall(self, count: int) -> None:
        """Show the last visible turns, if a user is at the terminal."""
        if not self._person:
            return
        if branches.at_a_greeting(self._state.session):
            self._show_turn(self._state.session.conversation.messages[-1].text)
            return
        for message in branches.last_messages(self._state.session, count):
            if message.role is Role.ASSISTANT:
                self._show_turn(message.text)
                if message.state is not records.MessageState.COMPLETE:
                    self._state.notice(f"({message.state})")
            else:
                self._state.notice(f"> {message.text}")

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """Handle Ctrl-C during the loop if a user is at the terminal; in a pipe it ends the program."""
        if not self._person or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _pressed(self, _number: int, _frame: FrameType | None) -> None:
        """Stop the running answer or command; do nothing if neither is running."""
        if self._cancel is not None:
            self._presses += 1
            self._cancel.set()
        if (self._obeying and self._cancel is None) or self._presses >= STUBBORN_PRESSES:
            self._presses = 0
            raise KeyboardInterrupt
