"""Helpers shared by all downloads: the progress callback, size formatting and the disk space check."""

import shutil
from collections.abc import Callable
from pathlib import Path

from hermes_cli.errors import ResourcesExhausted

Progress = Callable[[str, int, int | None], None]
"""Called with a label, the number of bytes received so far, and the total (None if unknown)."""

GB, MB = 1_000_000_000, 1_000_000


def no_progress(label: str, done: int, total: int | None) -> None:
    """Ignore the progress."""


def size_text(size: int) -> str:
    """Return a size formatted as on the Hugging Face hub: `4.37 GB`, `98 MB`, `12 kB`."""
    if size >= GB:
        return f"{size / GB:.2f} GB"
    if size >= MB:
        return f"{size / MB:.0f} MB"
    return f"{size / 1000:.0f} kB"


def disk_full(needed: int, folder: Path) -> ResourcesExhausted:
    """Return the error for a disk without space for `needed` bytes in `folder`."""
    return ResourcesExhausted(
        f"not enough disk space in {folder}: {size_text(needed)} ({needed:,} bytes) needed",
        "free some space, or set OPENHERMES_HOME (hermes' own files) or HF_HOME (files from the hub) "
        "to a folder on another disk",
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
