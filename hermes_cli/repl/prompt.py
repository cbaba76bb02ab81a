"""Reading turns: a prompt_toolkit line with history and completion, or the lines of standard input."""

import asyncio
import contextlib
import errno
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output

from hermes_cli.chat.text import decode
from hermes_cli.errors import Interrupted
from hermes_cli.repl import table
from hermes_cli.repl.state import State
from hermes_cli.store import typed

PROMPT = "> "
CONTINUATION = ". "


class PrivateHistory(FileHistory):
    """prompt_toolkit's history file, readable by its owner alone, written to while `is_open` says so."""

    def __init__(self, path: Path, is_open: Callable[[], bool]) -> None:
        typed.make(path)
        self._path = path
        self._is_open = is_open
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        """Append an entry."""
        if self._is_open():
            with contextlib.suppress(OSError):  # a full disk must not end the conversation
                typed.add(self._path, string)


class CommandCompleter(Completer):
    """Completes the names of slash commands and what they take."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """Yield what could stand at the cursor of a line that begins with one slash."""
        line = document.text_before_cursor
        if not line.startswith("/") or line.startswith("//") or "\n" in line:
            return
        name, blank, argument = line[1:].partition(" ")
        if not blank:
            for command in table.COMMANDS:
                if command.name.startswith(name.lower()):
                    yield Completion(command.name, -len(name), display_meta=command.help)
            return
        found = table.find(name)
        if found is not None and found.choices is not None and " " not in argument:
            for choice, meta in found.choices(self._state).items():
                if choice.startswith(argument):
                    yield Completion(choice, -len(argument), display_meta=meta)


class PromptReader:
    """A person at a prompt."""

    def __init__(
        self, state: State, history_file: Path, *, source: Input | None = None, sink: Output | None = None
    ) -> None:
        self._state = state
        self._history_file = history_file
        self._typed: set[str] = set()
        state.forget_typed = self._forget
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            history=self._history(),
            completer=CommandCompleter(state),
            complete_while_typing=Condition(self._typing_a_command),
            key_bindings=_keys(),
            prompt_continuation=CONTINUATION,
            enable_suspend=True,
            input=source,
            output=sink,
        )

    def _typing_a_command(self) -> bool:
        return self._session.default_buffer.text.startswith("/")

    def _history(self) -> History:
        """Return what was typed before; where nothing may be written, only that of this run."""
        if self._state.host.leaves_no_trace:
            return InMemoryHistory()
        try:
            return PrivateHistory(self._history_file, lambda: not self._state.host.leaves_no_trace)
        except OSError as error:
            self._state.notice(f"what you type is not kept: {self._history_file}: {error.strerror}")
            return InMemoryHistory()

    def _forget(self, lines: Collection[str]) -> None:
        """Take lines, and all that was typed in this run, out of what the arrow keys bring back."""
        try:
            typed.forget(self._history_file, {*lines, *self._typed})
        except OSError as error:
            self._state.notice(f"what you typed is still in {self._history_file}: {error.strerror}")
        history = self._history()
        self._session.history = self._session.default_buffer.history = history
        self._session.default_buffer.reset()

    def read(self) -> str | None:
        """Return what was typed. Ctrl-C empties the line, Ctrl-D on an empty one ends the conversation."""
        while True:
            suggestion, self._state.suggestion = self._state.suggestion, ""
            try:
                with _signals_for_the_prompt() as pre_run:
                    line = self._session.prompt(pre_run=pre_run, default=suggestion)
                    self._typed.add(line)
                    return line
            except KeyboardInterrupt:
                if self._state.instead is not None:
                    self._state.instead = None
                    self._state.notice("(nothing is changed)")
                elif not self._session.default_buffer.text:
                    self._state.notice("Ctrl-D or /exit leaves.")
            except EOFError:
                return None
            except OSError as error:
                if error.errno == errno.EIO:  # the terminal is gone
                    raise Interrupted(signal.SIGHUP) from None
                raise


@contextmanager
def _signals_for_the_prompt() -> Iterator[Callable[[], None]]:
    """Let SIGTERM and SIGHUP end a prompt from inside its event loop, which swallows what a handler raises.

    Yield what prompt_toolkit must call once its loop runs.
    """
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if callable(signal.getsignal(n))]
    before = {number: signal.getsignal(number) for number in numbers}

    def end(number: int) -> None:
        app = get_app()
        if app.is_running and not app.is_done:
            app.exit(exception=Interrupted(number))

    def pre_run() -> None:
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, end, number)

    try:
        yield pre_run
    finally:
        for number, handler in before.items():  # asyncio leaves the default behind
            signal.signal(number, handler)


def _keys() -> KeyBindings:
    keys = KeyBindings()
    on_an_empty_line = Condition(lambda: not get_app().current_buffer.text)

    for side in ("left", "right"):

        @keys.add("escape", side, filter=on_an_empty_line)
        def _(event: KeyPressEvent, line: str = f"/swipe {side}") -> None:
            event.current_buffer.insert_text(line)  # to be seen; it does not go into the input history
            event.app.exit(result=line)

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class LineReader:
    """Standard input, one turn a line."""

    def __init__(self, stdin: IO[bytes]) -> None:
        self._stdin = stdin
        self._number = 0

    def read(self) -> str | None:
        """Return the next line without its newline. Raises UsageError for one that is no UTF-8 text."""
        line = self._stdin.readline()
        if not line:
            return None
        self._number += 1
        return decode(line.removesuffix(b"\n"), f"line {self._number}")
