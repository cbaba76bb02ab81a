"""Helpers that every download shares: the progress callback, size texts, and the check of the disk space."""

import shutil
from collections.abc import Callable
from pathlib import Path

from hermes_cli.errors import ResourcesExhausted

Progress = Callable[[str, int, int | None], None]
"""Called with a label, the bytes received so far, and the total number of bytes (None: not known)."""

GB, MB = 1_000_000_000, 1_000_000


def no_progress(label: str, done: int, total: int | None) -> None:
    """Ignore the progress."""


def size_text(size: int) -> str:
    """Return a size in the format of the hub: `4.37 GB`, `98 MB`, `12 kB`."""
    if size >= GB:
        return f"{size / GB:.2f} GB"
    if size >= MB:
        return f"{size / MB:.0f} MB"
    return f"{size / 1000:.0f} kB"


def disk_full(needed: int, folder: Path) -> ResourcesExhausted:
    """Return the error for a disk without space for `needed` bytes in `folder`."""
    return ResourcesExhausted(
        f"the disk is full: {size_text(needed)} ({needed:,} bytes) are needed in {folder}",
        "free some space, or move the folder with OPENHERMES_HOME (hermes' own files) or "
        "HF_HOME (files from the hub)",
    )


def require_space(needed: int, folder: Path) -> None:
    """Raise ResourcesExhausted if the disk that holds `folder` has less than `needed` bytes free.

    `folder` need not exist yet.
    """
    for place in (folder, *folder.absolute().parents):
        try:
            free = shutil.disk_usage(place).free
        except OSError:
            continue
        if free < needed:
            raise disk_full(needed, folder)
        return
