"""Writes files to the user's persona and lorebook folders, and chooses their names."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hermes_cli.config import WRITABLE_HINT
from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.personas.loader import MAX_BYTES, NATIVE_SUFFIX, SUFFIXES, load_lorebook
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.native import parse_lorebook
from hermes_cli.personas.native_writer import append, write
from hermes_cli.private_files import make_private, write_private
from hermes_cli.untrusted.source import Source, read_text

MAX_KEY_LENGTH: Final = 60
MAX_KEY_BYTES: Final = 160
"""A file name has at most 255 bytes, and a letter up to four."""


def slug(name: str, *fallbacks: str) -> str:
    """Return a key for a name, which consists of lower-case letters and digits of any script, and dashes.

    If the name has no such characters, the fallbacks are tried in order. The last fallback is `persona`.
    """
    for candidate in (name, *fallbacks):
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", candidate).lower())
        words = "".join(character if _is_in_words(character) else " " for character in plain).split()
        key = "-".join(words)[:MAX_KEY_LENGTH]
        while len(key.encode()) > MAX_KEY_BYTES:
            key = key[:-1]
        if key := key.rstrip("-"):
            return key
    return "persona"


def _is_in_words(character: str) -> bool:
    """Return whether a character is a letter, a digit, or a mark, such as a vowel in the scripts of India."""
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Nd"


def find_existing(folder: Path, key: str, *, ignore: Sequence[Path] = ()) -> Path | None:
    """Return the file with this key in a folder, or None. Files in `ignore` are ignored."""
    for suffix in SUFFIXES:
        path = folder / f"{key}{suffix}"
        if path.is_symlink() or (path.exists() and not any(_is_same(path, ignored) for ignored in ignore)):
            return path
    return None


def write_toml(folder: Path, key: str, text: str, original: tuple[str, bytes] | None = None) -> Path:
    """Write a TOML file to a folder, together with the file that it was imported from.

    `original` is the suffix and the content of that file. Existing files are overwritten. Returns the path
    of the TOML file. Raises UsageError if the text is larger than MAX_BYTES, and HermesError if a file cannot
    be written.
    """
    if len(text.encode()) > MAX_BYTES:
        raise UsageError(
            f"the file of '{key}' would be larger than {MAX_BYTES >> 20} MiB", "shorten its texts"
        )
    path = folder / f"{key}{NATIVE_SUFFIX}"
    make_private(folder, hint=WRITABLE_HINT)
    if original:
        write_private(
            folder / f"{key}{original[0]}", original[1], replace=True, unwritable_hint=WRITABLE_HINT
        )
    write_private(path, text.encode(), replace=True, unwritable_hint=WRITABLE_HINT)
    return path


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


def add_entry(folder: Path, key: str, entry: LoreEntry) -> Path:
    """Append an entry to the lorebook `key`, creating it if necessary, and return its path.

    Raises PersonaError if the lorebook cannot be read, and HermesError if it cannot be written.
    """
    path = folder / f"{key}{NATIVE_SUFFIX}"
    foreign = folder / f"{key}.json"
    if path.exists():
        text = read_text(path, MAX_BYTES, Source(str(path), PersonaError))
    else:  # the new file takes precedence over a .json file, so it must contain its entries
        text = write(load_lorebook(foreign)) if foreign.exists() else ""
    new_text = append(text, entry)
    parse_lorebook(new_text, path)  # never write a lorebook that cannot be read
    return write_toml(folder, key, new_text)
