"""The user's own folders of personas and worlds: names, and files that come into them.

It knows what a name may be made of, and how a file is written whole, private, and never over another unasked.
It refuses to know what stands in a file.
"""

import errno
import os
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermes_cli.errors import HermesError, PersonaError, ResourcesExhausted, UsageError
from hermes_cli.personas.loader import MAX_BYTES, OWN, SUFFIXES, load_lorebook
from hermes_cli.personas.lorebook import Entry
from hermes_cli.personas.native_lore import parse_lorebook
from hermes_cli.personas.native_writer import append_entry, write
from hermes_cli.textfiles import read_text

NAME_LENGTH: Final = 60
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9]+")
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


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
        put(folder / f"{key}{original[0]}", original[1], replace=True)
    put(path, text.encode(), replace=True)
    return path


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can look into. Raises HermesError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(folder, error) from None


def put(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file that only its owner can read: whole or not at all, and over another only if told to.

    Raises UsageError where there is one already, HermesError where it cannot be written.
    """
    try:
        if not replace and (path.exists() or path.is_symlink()):
            raise in_the_way(path)
        descriptor, draft = tempfile.mkstemp(prefix=".hermes-", dir=path.parent)  # made with 0600
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _name(Path(draft), path, replace=replace)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)  # noqa: PTH108 - as above
    except FileExistsError:
        raise in_the_way(path) from None
    except (OSError, ValueError) as error:
        raise _unwritten(path, error) from None


def in_the_way(path: Path) -> UsageError:
    """Return the error for a name that leads to a file already."""
    return UsageError(f"there is already a file {path}", "take another name, or --force to write over it")


def _name(draft: Path, path: Path, *, replace: bool) -> None:
    """Give a draft its name. A link fails where another file has come in the meantime; a rename would not."""
    if replace:
        draft.replace(path)
        return
    try:
        path.hardlink_to(draft)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        draft.rename(path)  # as on FAT, which has no links


def _unwritten(path: Path, error: OSError | ValueError) -> HermesError:
    kind = ResourcesExhausted if getattr(error, "errno", 0) in _FULL else HermesError
    return kind(f"{path} cannot be written: {getattr(error, 'strerror', error)}", "name another place")


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
