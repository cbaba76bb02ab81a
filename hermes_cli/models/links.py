"""Rejects symbolic links that lead out of the folder of a model.

In the hub's cache, the files of a snapshot are links to the blobs of the same repository.
"""

import os
from pathlib import Path

from hermes_cli.errors import ModelUnavailable, access_hint, first_line
from hermes_cli.models.gguf.model import FETCH_AGAIN

SNAPSHOTS, BLOBS = "snapshots", "blobs"
"""Folders of a repository in the hub's cache."""


def reject_links(folder: Path) -> None:
    """Raise ModelUnavailable if a file in `folder` is a link to one elsewhere. The folder may be a link."""
    try:
        links = sorted(entry.name for entry in os.scandir(folder) if entry.is_symlink())
    except OSError as problem:
        reason = problem.strerror or first_line(problem)
        raise ModelUnavailable(f"its folder cannot be read: {reason}", access_hint(problem)) from None
    for name in links:
        reject_link(folder, name)


def reject_link(folder: Path, name: str) -> None:
    """Raise ModelUnavailable if the file `name` in `folder` is, or is below, a link to a place elsewhere."""
    try:
        real = folder.resolve()
        target = (real / name).resolve()
        blobs = (real.parent.parent / BLOBS).resolve() if real.parent.name == SNAPSHOTS else real
    except (OSError, RuntimeError):  # a loop
        raise ModelUnavailable(f"its {name!r} is a symbolic link to itself", FETCH_AGAIN) from None
    if not target.is_relative_to(real) and target.parent != blobs:
        raise ModelUnavailable(
            f"its {name!r} is a symbolic link to {str(target)!r}, outside the folder of the model",
            "copy the file into the folder; a link to the whole folder is accepted, too",
        )


def snapshot_of(path: Path) -> Path | None:
    """Return the snapshot in the hub's cache that contains a file, or None."""
    return next((parent for parent in path.parents if parent.parent.name == SNAPSHOTS), None)
