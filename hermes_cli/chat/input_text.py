"""Validates text for the model: UTF-8 without NUL characters. Nothing is normalized."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.untrusted import source
from hermes_cli.untrusted.source import BOM, Source, check_size, read_bytes, valid_text

MAX_BYTES = 64 << 20
"""Maximum size of an input: more than any context window can hold, but small enough for memory."""


class Attachment(NamedTuple):
    """A file to send with a message: its name, and its text below a line with the name."""

    name: str
    text: str


def message_text(attachments: Iterable[Attachment], text: str) -> str:
    """Return the text of a message with its attachments before it, separated by blank lines."""
    parts = (*(attachment.text for attachment in attachments), text)
    return "\n\n".join(part for part in parts if part.strip())


def decode(data: bytes, where: str) -> str:
    """Decode UTF-8. Raises UsageError with the position of the first invalid byte or NUL."""
    return check_text(source.decode(data, Source(where, UsageError)), where)


def text_of(data: bytes, where: str) -> str:
    """Return the text of a file or stream, without a byte-order mark and the line break at its end.

    Raises the errors of `decode`.
    """
    text = decode(data, where).removeprefix(BOM)
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def check_text(text: str, where: str) -> str:
    """Return the text unchanged. Raises UsageError if it contains NUL or invalid UTF-8."""
    return source.check_text(text, Source(where, UsageError))


def read_file(path: Path, hint: str) -> str:
    """Return the text of a file, below a line with its path.

    Raises UsageError if the file is not text, is too large, or cannot be read. `hint` is for a missing file.
    """
    file = Source(str(path), UsageError, missing_hint=hint)
    text = text_of(read_bytes(path, MAX_BYTES, file, allow_pipe=True), str(path))
    return f"{valid_text(str(path))}:\n{text}"


def check_input_size(data: bytes, where: str) -> bytes:
    """Return the bytes unchanged. Raises UsageError if they exceed MAX_BYTES."""
    return check_size(data, MAX_BYTES, Source(where, UsageError))
