"""The completions of a command line in a shell: commands, options, and names of models and other things."""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hermes_cli.application.completion_values import VALUES
from hermes_cli.screen.sanitize import sanitize_line

DESCRIPTION_LENGTH = 70
_SAFE = re.compile(r"(?!~)[\w.,:@%+=/~-]+")
"""Values that no shell expands, splits or needs to quote. Other ones are left out."""
_ASSIGNMENT = re.compile(r"\w+=")


class Candidate(NamedTuple):
    """A completion of the word at the cursor, and its description, which may be empty."""

    value: str
    help: str = ""


def complete(root: Any, line: str, environ: Mapping[str, str]) -> list[Candidate]:
    """Return the completions of the last word of a command line. `root` is the typer command of hermes.

    Values that a shell would have to quote are left out.
    """
    split = split_line(line)
    if split is None:
        return []
    words, current = split
    position = _Position(root)
    for word in words:
        position.read(word)
    return [
        Candidate(candidate.value, sanitize_line(candidate.help, DESCRIPTION_LENGTH))
        for candidate in position.candidates(current, environ)
        if candidate.value.startswith(current) and _SAFE.fullmatch(candidate.value)
    ]


def split_line(line: str) -> tuple[list[str], str] | None:
    """Return the arguments of hermes before the last word, and the last word, which may be empty.

    Return None if the last word is the name of the program, or is quoted.
    """
    start = max(map(line.rfind, " \t\n")) + 1
    try:
        words = shlex.split(line[:start])
    except ValueError:  # a quotation mark or a backslash before the last word
        return None
    while words and _ASSIGNMENT.match(words[0]):
        words.pop(0)
    current = line[start:]
    return (words[1:], current) if words and not set(current) & set("'\"\\$`") else None


class _Position:
    """The place after some arguments: the command, and the option that still needs its value."""

    def __init__(self, root: Any) -> None:
        self._command = root
        self._path: list[str] = []
        self._option: Any = None
        self._argument_count = 0
        self._options_ended = False

    def read(self, word: str) -> None:
        """Go on behind an argument of the command line."""
        if self._option is not None:
            self._option = None
        elif self._command is None:
            return
        elif self._options_ended or not word.startswith("-") or word == "-":
            self._read_argument(word)
        elif word == "--":
            self._options_ended = True
        else:
            self._option = self._option_without_value(word)

    def _read_argument(self, word: str) -> None:
        if not hasattr(self._command, "commands"):
            self._argument_count += 1
            return
        replaced = getattr(self._command, "completed_as", {}).get(word)
        if replaced is not None:
            for part in replaced:
                self.read(part)
            return
        self._path.append(word)
        self._command = self._command.get_command(None, word)

    def candidates(self, current: str, environ: Mapping[str, str]) -> Iterable[Candidate]:
        """Return the completions here. Those that do not begin with `current` are included."""
        if self._option is not None:
            return self._values(self._option, environ)
        if self._command is None:
            return []
        if current.startswith("-") and not self._options_ended:
            name, equals, _ = current.partition("=")
            if not equals:
                return self._flags()
            values = self._values(self._named_option(name), environ)
            return [Candidate(f"{name}={value.value}", value.help) for value in values]
        if hasattr(self._command, "commands"):
            commands = self._command.commands
            return [Candidate(name, _first_line(command.help)) for name, command in commands.items()]
        return self._values(self._argument(), environ)

    def _parameters(self, kind: str) -> list[Any]:
        """Return the options or the arguments of the command, or of the one that runs without a command."""
        parameters = [*self._command.params]
        if hasattr(self._command, "without_command"):
            parameters += self._command.without_command().params
        return [parameter for parameter in parameters if parameter.param_type_name == kind]

    def _named_option(self, name: str) -> Any:
        return next((option for option in self._parameters("option") if name in option.opts), None)

    def _option_without_value(self, word: str) -> Any:
        """Return the option whose value is the next word, or None."""
        names = [word] if word.startswith("--") else [f"-{letter}" for letter in word[1:]]
        for position, name in enumerate(names, 1):  # -cm MODEL is -c -m MODEL, and -mMODEL is -m MODEL
            option = self._named_option(name)
            if option is not None and not option.is_flag:
                return option if position == len(names) else None
        return None

    def _argument(self) -> Any:
        """Return the argument at the cursor, or None. Only the last one can be repeated."""
        arguments = self._parameters("argument")
        if self._argument_count < len(arguments):
            return arguments[self._argument_count]
        return arguments[-1] if arguments and arguments[-1].nargs == -1 else None

    def _flags(self) -> list[Candidate]:
        """Return the options of the command, each with its longest name."""
        options = [option for option in self._parameters("option") if not option.hidden]
        flags = [Candidate(max(option.opts, key=len), option.help or "") for option in options]
        return [*flags, Candidate("--help", "Show this message and exit.")]

    def _values(self, parameter: Any, environ: Mapping[str, str]) -> list[Candidate]:
        """Return the known values of an option or an argument."""
        if parameter is None:
            return []
        if choices := getattr(parameter.type, "choices", None):
            return [Candidate(str(choice)) for choice in choices]
        path, name = " ".join(self._path), max(parameter.opts, key=len)
        values = VALUES.get(f"{path} {name}") or VALUES.get(name)
        if values is None:
            return []
        from hermes_cli.config import Paths

        known = values(Paths.usable(environ)[0])
        return [Candidate(value, text) for value, text in known.items() if not value.startswith("-")]


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0]
