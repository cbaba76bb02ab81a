"""Taking a model out of the Hugging Face cache without harming what else lies there.

It knows the cache's layout: blobs named by their hash, and snapshots of links to them, one a commit (source:
huggingface_hub, "Understand caching"). It never follows a link out of the repository's own folder.
"""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from hermes_cli.models.hub_file import PARTIAL_SUFFIX


def delete(folder: Path, model: Path) -> int:
    """Delete `model`, a file or a whole snapshot under the repository `folder`; return the bytes freed.

    Blobs go when no link of any snapshot needs them, and so do unfinished downloads that nobody is at. A
    repository with nothing left in it goes, too. A path that is not in a snapshot of `folder` is left
    alone, and frees 0.
    """
    if folder / "snapshots" not in model.parents:
        return 0
    freed = 0
    for link in _same_files(folder, model):
        if not link.is_symlink() and link.is_file():  # a cache on a disk without links keeps the file itself
            freed += link.stat().st_size
        link.unlink()
    freed += _sweep(folder / "blobs", _needed_blobs(folder))
    _prune(folder)
    return freed


def _same_files(folder: Path, model: Path) -> list[Path]:
    """Return the entries to delete: all of a snapshot, or a file under the same name in every snapshot."""
    snapshots = [p for p in (folder / "snapshots").iterdir() if p.is_dir()]
    if model in snapshots:
        return [p for p in model.rglob("*") if p.is_symlink() or p.is_file()]
    inside = model.relative_to(folder / "snapshots").parts[1:]
    candidates = [snapshot.joinpath(*inside) for snapshot in snapshots]
    return [p for p in candidates if p.is_symlink() or p.is_file()]


def _needed_blobs(folder: Path) -> set[str]:
    links = (p for p in (folder / "snapshots").rglob("*") if p.is_symlink())
    return {p.readlink().name for p in links}


def _sweep(blobs: Path, needed: set[str]) -> int:
    freed = 0
    for blob in blobs.iterdir() if blobs.is_dir() else ():
        if blob.name not in needed and not blob.is_dir() and not _in_use(blob):
            freed += blob.lstat().st_size
            blob.unlink()
    return freed


def _in_use(blob: Path) -> bool:
    """Return whether a download may be writing to it: hermes' own are locked, other programs' unknown."""
    if not blob.name.endswith(".incomplete"):
        return False
    if not blob.name.endswith(PARTIAL_SUFFIX):
        return True
    with blob.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _prune(folder: Path) -> None:
    """Delete folders that hold nothing any more, and the repository where no snapshot is left."""
    for place, _, _ in os.walk(folder / "snapshots", topdown=False):
        with contextlib.suppress(OSError):  # it is not empty
            Path(place).rmdir()
    unfinished = any(True for _ in (folder / "blobs").glob("*.incomplete"))
    if not (folder / "snapshots").exists() and not unfinished:
        shutil.rmtree(folder, ignore_errors=True)
