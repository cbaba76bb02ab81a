"""Reads conversation files, and chooses file names for exports."""

import re
from pathlib import Path
from typing import Final

from hermes_cli.errors import UsageError
from hermes_cli.formats.registry import MAX_BYTES
from hermes_cli.untrusted.source import Source, read_start

NAME_LENGTH: Final = 60
IN_THE_WAY: Final = "choose another name; 'hermes sessions export --force' overwrites the file"
"""The hint if a file with the chosen name exists."""
_UNSAFE: Final = re.compile(r"[^\w]+")


def read_bytes(path: Path) -> bytes:
    """Return the first MAX_BYTES + 1 bytes of a file or a pipe, or all if there are fewer.

    Raises UsageError if it cannot be read.
    """
    return read_start(path, MAX_BYTES + 1, Source(str(path), UsageError), allow_pipe=True)


def place(name: str, title: str, ending: str) -> Path:
    """Return the path for an export. If `name` is empty or a folder, derive the file name from the title.

    Raises UsageError if `name` refers to the home directory of an unknown user.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise UsageError(f"{name} refers to an unknown user's home directory") from None
    return file_name(title, ending, path) if path.is_dir() else path


def file_name(title: str, ending: str, folder: Path) -> Path:
    """Return an unused path in a folder, with a file name derived from a title."""
    stem = _UNSAFE.sub("-", title).strip("-_")[:NAME_LENGTH].rstrip("-_") or "conversation"
    while len(stem.encode()) > 2 * NAME_LENGTH:  # a file name has at most 255 bytes
        stem = stem[:-1]
    path, number = folder / f"{stem}{ending}", 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{stem}-{number}{ending}"
    return path
