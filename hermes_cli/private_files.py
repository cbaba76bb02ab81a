"""Atomically writes files that only their owner can read. Existing files are replaced only on request."""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermes_cli.errors import HermesError, ResourcesExhausted, UsageError, is_disk_full

_LINKS_UNSUPPORTED: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def create_folders(folder: Path) -> None:
    """Create a folder and its missing parents, which only their owner can open. Raises OSError.

    `Path.mkdir` applies its mode only to the last folder, and the user's umask to the parents.
    """
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == folder.parent:
            break
        folder = folder.parent
    for path in reversed(missing):
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError:  # the message of FileExistsError would suggest that all is well
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def make_private(folder: Path, *, hint: str) -> None:
    """Create a folder and its missing parents, which only their owner can open.

    Raises HermesError with `hint` if that is not possible.
    """
    try:
        create_folders(folder)
    except OSError as error:
        raise _write_error(folder, error, hint) from None


def write_private(
    path: Path,
    data: bytes,
    *,
    replace: bool = False,
    hint: str = "use another name",
    unwritable_hint: str = "use another folder",
) -> None:
    """Write a file that only its owner can read. An existing file is overwritten only with `replace`.

    Raises UsageError with `hint` if the file exists, and HermesError with `unwritable_hint` if it cannot be
    written.
    """
    exists_error = UsageError(f"there is already a file {path}", hint)
    try:
        if not replace and (path.exists() or path.is_symlink()):
            raise exists_error
        descriptor, draft = tempfile.mkstemp(prefix=".hermes-", dir=path.parent)  # with mode 0600
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _move_into_place(Path(draft), path, replace=replace)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)  # noqa: PTH108 - as above
    except FileExistsError:
        raise exists_error from None
    except (OSError, ValueError) as error:
        raise _write_error(path, error, unwritable_hint) from None


def _move_into_place(draft: Path, path: Path, *, replace: bool) -> None:
    """Move a temporary file to its path. Unlike a rename, a hard link fails if the path already exists."""
    if replace:
        draft.replace(path)
        return
    try:
        path.hardlink_to(draft)
    except OSError as error:
        if error.errno not in _LINKS_UNSUPPORTED:
            raise
        draft.rename(path)  # for file systems without hard links, such as FAT


def _write_error(path: Path, error: OSError | ValueError, hint: str) -> HermesError:
    message = f"{path} cannot be written: {getattr(error, 'strerror', error)}"
    if isinstance(error, OSError) and is_disk_full(error):
        return ResourcesExhausted(message, f"free some space, or {hint}")
    return HermesError(message, hint)
