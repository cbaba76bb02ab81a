"""Checks that input is text for a model: UTF-8 without NUL. Nothing is stripped or normalized."""

from pathlib import Path

from hermes_cli.errors import UsageError

MAX_BYTES = 64 << 20
"""The size limit of an input: far more than any context window holds, and small enough for memory."""


def decode(data: bytes, where: str) -> str:
    """Return the bytes as text. Raises UsageError with the position of the first invalid byte or NUL."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8 text: byte {error.start + 1:,} is 0x{data[error.start]:02x}",
            "convert it first, for example with: iconv -f latin1 -t utf-8",
        ) from None
    return check_text(text, where)


def check_text(text: str, where: str) -> str:
    """Return the text. Raises UsageError if it contains NUL or bytes that were not UTF-8."""
    if "\0" in text:
        raise UsageError(f"{where} contains a NUL at character {text.index(chr(0)) + 1:,}, so it is not text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{where} is not UTF-8 text", "check the terminal's encoding") from None
    return text


def read_file(path: Path, hint: str) -> str:
    """Return the text of a file, below a line with its path.

    Raises UsageError if the file is not text, is too large, or cannot be read; then with `hint`.
    """
    try:
        with path.open("rb") as file:
            data = within_reason(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise UsageError(f"{path}: {reason}", hint) from None
    except ValueError:  # a NUL in the path
        raise UsageError(f"{str(path)!r} is not a path", hint) from None
    return f"{path}:\n{decode(data, str(path))}"


def within_reason(data: bytes, where: str) -> bytes:
    """Return the bytes. Raises UsageError if they exceed MAX_BYTES."""
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{where} is larger than {MAX_BYTES >> 20} MiB", "that exceeds any context window; shorten it"
        )
    return data
