"""The prompt of `ask` and `tokens`: standard input, then files, then the argument, with a blank line between.

Text is taken as it is given: nothing is stripped or normalised. Only the one newline that ends standard
input is dropped, as the shell adds it.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from hermes_cli.chat.text import check_text, decode
from hermes_cli.errors import UsageError
from hermes_cli.screen.terminal import Terminal

QUIET_STDIN_S = 3.0
"""After this long without standard input's end, a line says what hermes waits for."""


MAX_BYTES = 64 << 20
"""Far more than any context window holds, and less than fills the memory."""


def read_prompt(terminal: Terminal, words: Sequence[str], files: Sequence[Path]) -> str:
    """Return the whole prompt.

    Raises UsageError where there is none, or where a part is not UTF-8 text.
    """
    parts = [_read_stdin(terminal)] if not terminal.stdin_is_tty else []
    parts += [_read_file(path) for path in files]
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
        data = _within_reason(terminal.stdin.read(MAX_BYTES + 1), "standard input")
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}") from None
    finally:
        patience.cancel()
    return decode(data.removesuffix(b"\n"), "standard input")


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = _within_reason(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise UsageError(f"{path}: {reason}", "check the name that follows -f") from None
    return f"{path}:\n{decode(data, str(path))}"


def _within_reason(data: bytes, where: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{where} is larger than {MAX_BYTES >> 20} MiB", "no context window holds it; shorten it"
        )
    return data
