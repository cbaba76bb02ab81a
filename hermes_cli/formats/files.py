"""Files of conversations on the disk: read with a limit, written whole, private, and never over another.

It knows files and names. It refuses to know what stands in them.
"""

import errno
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermes_cli.errors import HermesError, ResourcesExhausted, UsageError
from hermes_cli.formats.table import MAX_BYTES

NAME_LENGTH: Final = 60
_UNSAFE: Final = re.compile(r"[^\w]+")
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def read_bytes(path: Path) -> bytes:
    """Return what is in a file, at most a byte more than the limit. Raises UsageError."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise UsageError(f"{path} is a folder", "name the files in it")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", "check the name") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from None


def write_private(path: Path, text: str, *, replace: bool = False) -> None:
    """Write a file that only its owner can read: whole or not at all, and over another only if told to.

    Raises UsageError where there is one already, HermesError where it cannot be written.
    """
    try:
        if not replace and (path.exists() or path.is_symlink()):
            raise _in_the_way(path)
        descriptor, draft = tempfile.mkstemp(prefix=".hermes-", dir=path.parent)  # made with 0600
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            _put(Path(draft), path, replace=replace)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)  # noqa: PTH108 - as above
    except FileExistsError:
        raise _in_the_way(path) from None
    except (OSError, ValueError) as error:
        kind = (
            ResourcesExhausted if getattr(error, "errno", 0) in {errno.ENOSPC, errno.EDQUOT} else HermesError
        )
        raise kind(
            f"{path} cannot be written: {getattr(error, 'strerror', error)}", "name another place"
        ) from None


def _put(draft: Path, path: Path, *, replace: bool) -> None:
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


def _in_the_way(path: Path) -> UsageError:
    return UsageError(
        f"there is already a file {path}", "name another; 'hermes sessions export --force' writes over it"
    )


def place(name: str, title: str, ending: str) -> Path:
    """Return the path that a name means; in a folder, or without a name, one made from the title.

    Raises UsageError for the home of nobody.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise UsageError(f"{name} is in the home of nobody") from None
    return file_name(title, ending, path) if path.is_dir() else path


def file_name(title: str, ending: str, folder: Path) -> Path:
    """Return a name in a folder that no file has yet, made of the letters and digits of a title."""
    stem = _UNSAFE.sub("-", title).strip("-_")[:NAME_LENGTH].rstrip("-_") or "conversation"
    while len(stem.encode()) > 2 * NAME_LENGTH:  # 255 bytes are all that a name may have
        stem = stem[:-1]
    path, number = folder / f"{stem}{ending}", 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{stem}-{number}{ending}"
    return path
