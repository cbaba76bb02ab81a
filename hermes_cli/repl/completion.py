"""Completion at the prompt: the names of slash commands, their arguments, and file paths."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from hermes_cli.errors import HermesError
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.sanitize import sanitize_line

if TYPE_CHECKING:
    from hermes_cli.repl.command_table import Command  # imported with the first line


class CommandCompleter(Completer):
    """Completes slash commands. If an error occurs, there are no completions."""

    def __init__(self, state: ReplState) -> None:
        self._state = state
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Yield the completions at the cursor."""
        try:
            yield from self._completions(document, event)
        except (HermesError, OSError, RuntimeError, ValueError):
            return  # a broken persona file, an unreadable folder, an invalid file name

    def _completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        if not line.startswith("/") or line.startswith("//") or "\n" in line:
            return
        from hermes_cli.repl import command_table

        name, blank, argument = line[1:].partition(" ")
        command = command_table.find(name)
        if not blank:
            for command in command_table.COMMANDS:
                if command.name.startswith(name.lower()):
                    yield Completion(command.name, -len(name), display_meta=command.help)
        elif command is not None:
            yield from self._arguments(command, argument, event)

    def _arguments(self, command: "Command", argument: str, event: CompleteEvent) -> Iterable[Completion]:
        choices = command.choices(self._state) if command.choices else {}
        for choice, meta in choices.items():
            if choice.lower().startswith(argument.lower()) and choice.isprintable():
                yield Completion(choice, -len(argument), display_meta=sanitize_line(meta))
        path = argument.lstrip()
        if command.takes_path and not any(known.startswith(argument.lower()) for known in choices):
            for completion in self._paths.get_completions(Document(path, len(path)), event):
                if completion.text.isprintable():  # control characters cannot be typed
                    yield completion
