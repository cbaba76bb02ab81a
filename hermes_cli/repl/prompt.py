"""Reading turns: a prompt_toolkit line with history and completion, or the lines of standard input."""

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterable, Iterator
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

PROMPT = "> "
CONTINUATION = ". "


class PrivateHistory(FileHistory):
    """prompt_toolkit's history file, readable by its owner alone, each entry written in one piece."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        """Append an entry. One write, so that two windows do not cut into each other's."""
        entry = "\n#\n" + "".join(f"+{line}\n" for line in string.split("\n"))
        with contextlib.suppress(OSError):  # a full disk must not end the conversation
            descriptor = os.open(os.fspath(self.filename), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, entry.encode("utf-8", "surrogatepass"))
            finally:
                os.close(descriptor)


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
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            history=self._history(history_file),
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

    def _history(self, path: Path) -> History:
        try:
            return PrivateHistory(path)
        except OSError as error:
            self._state.notice(f"what you type is not kept: {path}: {error.strerror}")
            return InMemoryHistory()

    def read(self) -> str | None:
        """Return what was typed. Ctrl-C empties the line, Ctrl-D on an empty one ends the conversation."""
        while True:
            try:
                with _signals_for_the_prompt() as pre_run:
                    return self._session.prompt(pre_run=pre_run)
            except KeyboardInterrupt:
                if not self._session.default_buffer.text:
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
