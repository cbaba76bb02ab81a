"""Deletes a model from the Hugging Face cache without damaging the other models in it.

The cache holds blobs named by their hash, and for each commit a snapshot folder of links to them (source:
huggingface_hub, "Understand caching"). Links out of the repository's folder are never followed.
"""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from hermes_cli.models.hub.file_download import PARTIAL_SUFFIX


def delete(folder: Path, model: Path) -> int:
    """Delete `model`, a file or a whole snapshot under the repository `folder`, and return the bytes freed.

    Blobs that no snapshot links to are deleted too, and so are unfinished downloads that are not in use. If
    nothing is left in the repository, it is deleted. If `model` is not in a snapshot of `folder`, nothing is
    deleted and the result is 0.
    """
    if folder / "snapshots" not in model.parents:
        return 0
    freed = 0
    for link in _same_files(folder, model):
        # On a file system without links, the snapshot holds the file itself.
        if not link.is_symlink() and link.is_file():
            freed += link.stat().st_size
        link.unlink()
    freed += _sweep(folder / "blobs", _needed_blobs(folder))
    _prune(folder)
    return freed


def _same_files(folder: Path, model: Path) -> list[Path]:
    """Return the entries to delete: a whole snapshot, or the file of the same name in every snapshot."""
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
    """Return whether a download may be writing to `blob`.

    hermes locks its partial files. Partial files of other programs always count as in use.
    """
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
    """Delete empty folders, and the repository if no snapshot and no unfinished download is left."""
    for place, _, _ in os.walk(folder / "snapshots", topdown=False):
        with contextlib.suppress(OSError):  # it is not empty
            Path(place).rmdir()
    unfinished = any(True for _ in (folder / "blobs").glob("*.incomplete"))
    if not (folder / "snapshots").exists() and not unfinished:
        shutil.rmtree(folder, ignore_errors=True)
