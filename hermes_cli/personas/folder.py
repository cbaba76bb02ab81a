"""Names and writes files in the user's folders of personas and lorebooks."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.personas.loader import MAX_BYTES, OWN, SUFFIXES, load_lorebook
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.native import parse_lorebook
from hermes_cli.personas.native_writer import append_entry, write
from hermes_cli.private_files import make_private, write_private
from hermes_cli.untrusted.source import Source, read_text

NAME_LENGTH: Final = 60
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9]+")


def slug(name: str, *fallbacks: str) -> str:
    """Return a key for a name: lower-case letters, digits and dashes, without accents.

    If nothing of the name is left, the fallbacks are tried in turn. The last resort is `persona`.
    """
    for one in (name, *fallbacks):
        plain = unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode().lower()
        if key := _NOT_IN_A_NAME.sub("-", plain).strip("-")[:NAME_LENGTH].rstrip("-"):
            return key
    return "persona"


def taken_by(folder: Path, key: str, *, besides: Sequence[Path] = ()) -> Path | None:
    """Return the existing file of a key in a folder, or None. Files in `besides` are ignored."""
    for suffix in SUFFIXES:
        path = folder / f"{key}{suffix}"
        if path.is_symlink() or (path.exists() and not any(_is_same(path, one) for one in besides)):
            return path
    return None


def keep(folder: Path, key: str, text: str, original: tuple[str, bytes] | None = None) -> Path:
    """Write a TOML file into a folder, and beside it the original that it was imported from.

    `original` is the suffix and the bytes of that file. Existing files are overwritten. Returns the path of
    the TOML file. Raises UsageError if the text is larger than MAX_BYTES, and HermesError if a file cannot be
    written.
    """
    if len(text.encode()) > MAX_BYTES:
        raise UsageError(
            f"'{key}' is larger than {MAX_BYTES >> 20} MiB as a persona file", "shorten its texts"
        )
    path = folder / f"{key}{OWN}"
    make_private(folder)
    if original:
        write_private(folder / f"{key}{original[0]}", original[1], replace=True)
    write_private(path, text.encode(), replace=True)
    return path


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


def add_entry(folder: Path, key: str, entry: LoreEntry) -> Path:
    """Append an entry to the lorebook with the key `key`, which is created if necessary; return its file.

    Raises PersonaError if the lorebook cannot be read, and HermesError if it cannot be written.
    """
    path = folder / f"{key}{OWN}"
    foreign = folder / f"{key}.json"
    if path.exists():
        text = read_text(path, MAX_BYTES, Source(str(path), PersonaError))
    else:  # the .toml file would hide the .json file of another program, so it is converted
        text = write(load_lorebook(foreign)) if foreign.exists() else ""
    new_text = append_entry(text, entry)
    parse_lorebook(new_text, path)  # never write a lorebook that cannot be read
    return keep(folder, key, new_text)
