"""The user's own folders of personas and worlds: names, and files that come into them.

It knows what a name may be made of, and which files belong together. It refuses to know what stands in them.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.personas.loader import MAX_BYTES, OWN, SUFFIXES, load_lorebook
from hermes_cli.personas.lorebook import Entry
from hermes_cli.personas.native_lore import parse_lorebook
from hermes_cli.personas.native_writer import append_entry, write
from hermes_cli.private_files import make_private, write_private
from hermes_cli.textfiles import read_text

NAME_LENGTH: Final = 60
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9]+")


def slug(name: str, *fallbacks: str) -> str:
    """Return what is typed for a name: lower-case letters, digits and dashes. Accents are taken off.

    Where nothing of the name is left it is made of the fallbacks, and at last it is `persona`.
    """
    for one in (name, *fallbacks):
        plain = unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode().lower()
        if found := _NOT_IN_A_NAME.sub("-", plain).strip("-")[:NAME_LENGTH].rstrip("-"):
            return found
    return "persona"


def taken_by(folder: Path, key: str, *, besides: Sequence[Path] = ()) -> Path | None:
    """Return the file in a folder that a name leads to already, but for those given."""
    for suffix in SUFFIXES:
        path = folder / f"{key}{suffix}"
        if path.is_symlink() or (path.exists() and not any(_is_same(path, one) for one in besides)):
            return path
    return None


def keep(folder: Path, key: str, text: str, original: tuple[str, bytes] | None = None) -> Path:
    """Write a TOML file into a folder and, beside it, the file that it was made from, by suffix and bytes.

    Returns the TOML file. What has these names is written over. Raises UsageError where the text is larger
    than hermes reads, and HermesError where it cannot be written.
    """
    if len(text.encode()) > MAX_BYTES:
        raise UsageError(
            f"'{key}' is larger than {MAX_BYTES >> 20} MiB as a persona file", "hermes reads no larger one"
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


def add_entry(folder: Path, key: str, entry: Entry) -> Path:
    """Write an entry into the lorebook of that name, which is made where it is not there; return its file.

    Raises PersonaError where that book cannot be read, HermesError where it cannot be written.
    """
    path = folder / f"{key}{OWN}"
    foreign = folder / f"{key}.json"
    if path.exists():
        text = read_text(path, PersonaError, max_bytes=MAX_BYTES)
    else:  # beside it a book of another program's would no longer be seen
        text = write(load_lorebook(foreign)) if foreign.exists() else ""
    grown = append_entry(text, entry)
    parse_lorebook(grown, path)  # never leave a book behind that cannot be read
    return keep(folder, key, grown)
