"""Helpers for downloads: the progress callback, sizes and times as text, and the disk space check."""

import shutil
from collections.abc import Callable
from pathlib import Path

from hermes_cli.errors import ResourcesExhausted

Progress = Callable[[str, int, int | None], None]
"""A callback that takes a label, the number of bytes received so far, and the total or None if unknown."""

GB, MB = 1_000_000_000, 1_000_000


def no_progress(label: str, done: int, total: int | None) -> None:
    """Ignore progress reports."""


def size_text(size: int) -> str:
    """Format a size in bytes as the Hugging Face hub does: `4.37 GB`, `98 MB`, `12 kB`."""
    if size >= GB:
        return f"{size / GB:.2f} GB"
    if size >= MB:
        return f"{size / MB:.0f} MB"
    return f"{size / 1000:.0f} kB"


SLOW_LINE, FAST_LINE = 100_000_000 // 8, 1_000_000_000 // 8
"""Bytes per second at 100 and at 1,000 Mbit/s."""


def estimate(size: int, folder: Path) -> str:
    """Return the download time and the free disk space at `folder`, as text for the user."""
    slow, fast = (max(1, round(size / rate / 60)) for rate in (SLOW_LINE, FAST_LINE))
    time = (
        f"{slow} minutes at 100 Mbit/s"
        if slow == fast
        else f"{fast} to {slow} minutes at 1,000 to 100 Mbit/s"
    )
    free = _free_space(folder)
    return f"about {time}; {size_text(free)} free on the disk" if free is not None else f"about {time}"


def _free_space(folder: Path) -> int | None:
    for path in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(path).free
        except OSError:
            continue
    return None


def disk_full(needed: int, folder: Path) -> ResourcesExhausted:
    """Return the error for a disk that has no room for `needed` bytes in `folder`."""
    return ResourcesExhausted(
        f"not enough disk space in {folder}: {size_text(needed)} ({needed:,} bytes) needed",
        "free some space, or set OPENHERMES_HOME (hermes' own files) or HF_HOME (files from the hub) "
        "to a folder on another disk",
    )


def require_space(needed: int, folder: Path) -> None:
    """Raise ResourcesExhausted if the disk of `folder` has less than `needed` bytes free.

    `folder` need not exist.
    """
    free = _free_space(folder)
    if free is not None and free < needed:
        raise disk_full(needed, folder)
