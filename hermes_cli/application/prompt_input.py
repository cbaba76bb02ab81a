"""Reads the prompt of `ask` and `tokens`: standard input, files and the argument, joined by blank lines.

The text is neither stripped nor normalized. Only one newline at the end of standard input is dropped, because
the shell adds it.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from hermes_cli.chat.input_text import MAX_BYTES, check_text, decode, read_file, within_reason
from hermes_cli.errors import UsageError
from hermes_cli.screen.terminal import Terminal

QUIET_STDIN_S = 3.0
"""Seconds to wait for the end of standard input before a message explains the wait."""


def read_prompt(terminal: Terminal, words: Sequence[str], files: Sequence[Path]) -> str:
    """Return the whole prompt.

    Raises UsageError if it is empty, or if a part of it is not UTF-8 text.
    """
    parts = [_read_stdin(terminal)] if not terminal.stdin_is_tty else []
    parts += [read_file(path, "check the name that follows -f") for path in files]
    parts.append(check_text(" ".join(words), "the prompt"))
    prompt = "\n\n".join(part for part in parts if part)
    if not prompt:
        raise UsageError("the prompt is empty", 'say something: hermes ask "…", or pipe text in')
    return prompt


def _read_stdin(terminal: Terminal) -> str:
    patience = threading.Timer(
        QUIET_STDIN_S, terminal.notice, ["reading standard input (give it </dev/null if there is none)"]
    )
    patience.daemon = True
    patience.start()
    try:
        data = within_reason(terminal.stdin.read(MAX_BYTES + 1), "standard input")
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}") from None
    finally:
        patience.cancel()
    return decode(data.removesuffix(b"\n"), "standard input")
