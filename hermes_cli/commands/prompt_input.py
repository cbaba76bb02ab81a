"""The prompt of `ask` and `tokens`: standard input, then files, then the argument, with a blank line between.

Text is taken as it is given: nothing is stripped or normalised. Only the one newline that ends standard
input is dropped, as the shell adds it.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from hermes_cli.errors import UsageError
from hermes_cli.screen.terminal import Terminal

QUIET_STDIN_S = 3.0
"""After this long without standard input's end, a line says what hermes waits for."""


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
        data = terminal.stdin.read()
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}") from None
    finally:
        patience.cancel()
    return decode(data.removesuffix(b"\n"), "standard input")


def _read_file(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise UsageError(f"{path}: {reason}", "check the name that follows -f") from None
    return f"{path}:\n{decode(data, str(path))}"


def decode(data: bytes, where: str) -> str:
    """Return the bytes as text. Raises UsageError with the place of the first that are no UTF-8, or NUL."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8 text: byte {error.start + 1:,} is 0x{data[error.start]:02x}",
            "convert it first, as with: iconv -f latin1 -t utf-8",
        ) from None
    return check_text(text, where)


def check_text(text: str, where: str) -> str:
    """Return the text. Raises UsageError where it holds NUL or bytes that were no UTF-8."""
    if "\0" in text:
        raise UsageError(f"{where} holds a NUL at character {text.index(chr(0)) + 1:,}: that is no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{where} is not UTF-8 text", "check the terminal's encoding") from None
    return text
