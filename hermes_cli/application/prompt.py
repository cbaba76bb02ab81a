"""Reads the prompt of `hermes ask` and `tokens`: the arguments, files and standard input."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.input_text import (
    MAX_BYTES,
    Attachment,
    check_input_size,
    check_text,
    message_text,
    read_file,
    text_of,
)
from hermes_cli.errors import UsageError
from hermes_cli.personas.template import takes_input
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.screen.terminal import Terminal
from hermes_cli.untrusted.source import valid_text

QUIET_STDIN_S = 3.0
"""Seconds to wait for the end of standard input before a message explains the wait."""
REDIRECT = "if there is none, add </dev/null"
STDIN = Path("-")
"""The name of standard input after -f, and as the first word of the prompt."""


STDIN_NAME = "standard input"


class PromptText(NamedTuple):
    """The parts of a prompt: standard input and files as attachments, and a question, which may be empty."""

    attachments: tuple[Attachment, ...]
    question: str

    @property
    def text(self) -> str:
        """The whole prompt."""
        return message_text(self.attachments, self.question)

    @property
    def plain_text(self) -> str:
        """The whole prompt without the lines with the names of the files."""
        parts = (
            part if part.name == STDIN_NAME else part._replace(text=part.text.removeprefix(f"{part.name}:\n"))
            for part in self.attachments
        )
        return message_text(parts, self.question)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the attachments."""
        return tuple(attachment.name for attachment in self.attachments)


def read_prompt(runtime: Runtime, flags: Flags, words: Sequence[str], files: Sequence[Path]) -> PromptText:
    """Return the prompt: standard input, the files, and the words of the argument.

    Standard input is read if it is not a terminal, or if it is requested with `-`. Parts without text are
    left out. Raises UsageError if none is left, unless the persona is a template that takes no text, or if a
    part is not UTF-8 text.
    """
    terminal = runtime.terminal
    begins_with_stdin = words[:1] == [str(STDIN)]
    reads_stdin = begins_with_stdin or STDIN in files or not terminal.stdin_is_tty
    words, paths = _separate_files(
        terminal, words[begins_with_stdin:], [path for path in files if path != STDIN]
    )
    question = check_text(" ".join(words), "the prompt")
    parts = [Attachment(STDIN_NAME, _read_stdin(terminal))] if reads_stdin else []
    parts += [Attachment(valid_text(str(path)), read_file(path, _missing_hint(path))) for path in paths]
    prompt = PromptText(tuple(part for part in parts if part.text.strip()), question)
    if not prompt.text and takes_input(runtime.persona(flags.persona)):
        require_text(prompt.text)
    return prompt


def _separate_files(
    terminal: Terminal, words: Sequence[str], paths: Sequence[Path]
) -> tuple[Sequence[str], Sequence[Path]]:
    """Return the words that are text, and the files.

    If there are files, a word that names an existing one is a file, too: a shell expands `-f *.txt` to a
    flag with one name, followed by words.
    """
    more = [word for word in words if paths and os.path.isfile(word)]  # noqa: PTH113 - accepts any word
    if not more:
        return words, paths
    terminal.notice(f"read as files, like the names after -f: {sanitize_line(', '.join(more))}")
    return [word for word in words if word not in more], [*paths, *map(Path, more)]


def _missing_hint(path: Path) -> str:
    """Return the hint if there is no such file."""
    if path.parts[:1] in {("http:",), ("https:",)}:
        return "a web page is not a file; pipe it in: curl -s URL | hermes ask …"
    return "check the name that follows -f"


def _read_stdin(terminal: Terminal) -> str:
    delay, remedy = (0.0, "Ctrl-D ends it") if terminal.stdin_is_tty else (QUIET_STDIN_S, REDIRECT)
    timer = threading.Timer(delay, terminal.notice, [f"reading standard input; {remedy}"])
    timer.daemon = True
    timer.start()
    try:
        data = check_input_size(terminal.stdin.read(MAX_BYTES + 1), STDIN_NAME)
    except OSError as error:
        raise UsageError(f"{STDIN_NAME} cannot be read: {error.strerror}") from None
    finally:
        timer.cancel()
    return text_of(data, STDIN_NAME)


def require_text(text: str) -> str:
    """Return the text of a prompt. Raises UsageError if it is empty."""
    if not text:
        raise UsageError("the prompt is empty", "give one as an argument, or pipe it in")
    return text
