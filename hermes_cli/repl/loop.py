"""The loop of the REPL: reads a line, runs it as a command or sends it, and prints the answer.

At a terminal, Ctrl-C stops an answer and keeps the text so far, but never ends the loop. If a turn fails,
the error is printed and the loop continues.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hermes_cli.chat.input_text import check_text, message_text
from hermes_cli.errors import HermesError, ReaderGone, ResourcesExhausted, as_hermes_error
from hermes_cli.repl.answer_printer import AnswerPrinter
from hermes_cli.repl.line_reader import Line, TurnReader
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import sanitize_line


class Loop:
    """Runs a conversation: reads lines from `reader`, and prints answers with `printer`."""

    def __init__(self, state: ReplState, reader: TurnReader, printer: AnswerPrinter) -> None:
        self._state = state
        self._reader = reader
        self._printer = printer
        self._interactive = printer.interactive
        self._in_command = False

    def run(self, first: str | None = None) -> int:
        """Send the message `first`, if any, and run until the end of input or `/exit`; return the exit code.

        The files in `state.attached` are sent with the first message.
        """
        state = self._state
        with self._ctrl_c():
            tree = state.session.tree
            if state.session.recorder.conversation is not None and tree.path:
                state.notice(f"(continuing after {pluralize(len(tree.path), 'message')})")
                state.print_last_turns(2)
                if tree.is_unanswered:
                    state.notice("Your last turn has no answer yet; /regen generates one.")
            else:
                state.greet()
            if first is not None:
                self._guarded(lambda: self._send_first(first))
            while state.running and self._round():
                pass
        loading = state.loading
        if loading is not None and loading.failure is not None:
            return as_hermes_error(loading.failure).exit_code
        return state.exit_code

    def _round(self) -> bool:
        """Read and process one line; return False at the end of input."""
        self._state.print_engine_notices()

        def read_turn() -> bool:
            line = self._reader.read()
            if line is not None:
                self._turn(line._replace(text=check_text(line.text, "the line")))
            return line is not None

        return self._guarded(read_turn)

    def _guarded(self, action: Callable[[], bool]) -> bool:
        """Return the result of an action. If it fails or is stopped, print why, and return True."""
        try:
            return action()
        except KeyboardInterrupt:
            self._state.notice("(stopped)")
        except HermesError as error:
            if isinstance(error, ReaderGone):
                raise
            self._fail(error)
            self._offer_smaller(error)
        return True

    def _offer_smaller(self, error: HermesError) -> None:
        """Offer a smaller plan if the model could not be loaded for lack of memory."""
        state = self._state
        failed = state.loading is not None and state.loading.failure is error
        if self._interactive and failed and isinstance(error, ResourcesExhausted):
            state.host.load_smaller(state.session)

    def _fail(self, error: HermesError) -> None:
        """Print an error. In a pipe, the first error also sets the exit code."""
        self._state.fail(error)
        if not self._interactive:
            self._state.exit_code = self._state.exit_code or error.exit_code

    def _turn(self, line: Line) -> None:
        from hermes_cli.repl import command_table

        handler, self._state.next_line_handler = self._state.next_line_handler, None
        send = handler or self._send
        command = None if line.verbatim else command_table.command_line(line.text)
        if command is not None:
            self._run(command)
        elif self._leaves(line) and not handler:
            self._state.running = False
        elif line.text.startswith("//") and not line.verbatim:
            send(line.text[1:])
        elif line.text.strip():
            send(line.text)
        elif handler:
            self._state.notice("(nothing was changed)")

    def _leaves(self, line: Line) -> bool:
        """Return whether the user leaves with a bare `exit` or `quit`. In a pipe it is a message."""
        return self._interactive and not line.verbatim and line.text.lower() in {"exit", "quit"}

    def _run(self, line: str) -> None:
        from hermes_cli.repl import command_table

        name, *rest = line.split(maxsplit=1) or [""]
        command = command_table.find(name)
        if command is None:
            self._state.fail(command_table.unknown_command_error(sanitize_line(name)))
            return
        self._in_command = True
        try:
            command.run(self._state, rest[0].strip() if rest else "")
        except OSError as error:  # for example a file name that is too long
            self._fail(as_hermes_error(error))
        finally:
            self._in_command = False

    def _send_first(self, text: str) -> bool:
        """Show and send the message that was given on the command line."""
        state = self._state
        if self._interactive:
            names = ", ".join(sanitize_line(attachment.name) for attachment in state.attached)
            state.notice(" ".join(filter(None, (">", text, f"({names})" if names else ""))))
        self._send(text)
        return True

    def _send(self, text: str) -> None:
        """Send a message with the attached files. If no text is generated, put it back at the prompt."""
        state = self._state
        attached, state.attached = state.attached, []
        names = [attachment.name for attachment in attached]
        message = message_text(attached, text)
        state.session.recorder.question = text
        before = state.session.tree.cursor
        try:
            state.answer(lambda cancel: state.session.send(message, cancel, files=names))
        finally:
            if self._interactive and state.session.tree.cursor == before:
                state.suggest(text)
                state.attached = attached

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """Handle Ctrl-C during the loop if the user is at a terminal. In a pipe, Ctrl-C ends the program."""
        if not self._interactive or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _pressed(self, _number: int, _frame: FrameType | None) -> None:
        """Stop the running answer or command, or the count of tokens before the prompt."""
        self._state.stop_count()
        if self._in_command and not self._printer.is_answering:
            raise KeyboardInterrupt
        self._printer.stop()
