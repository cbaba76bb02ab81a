"""The Hugging Face cache: finds its folders, and deletes a model without damaging other models.

huggingface_hub's `delete_revisions` deletes whole revisions, but the GGUF files of a repository share one.
The cache stores blobs named by their hash and, for each commit, a snapshot folder of links to blobs (source:
huggingface_hub, "Understand caching"). Links to files outside the repository's folder are never followed.
"""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

PARTIAL_SUFFIX = ".hermes.incomplete"
"""The end of the name of a blob that hermes has not downloaded completely."""


def cache_folder() -> Path:
    """Return the Hugging Face cache folder, by the rules of huggingface_hub's `constants.HF_HUB_CACHE`."""
    env = os.environ
    if explicit := env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE"):
        return _expanded(os.path.expandvars(explicit))
    if home := env.get("HF_HOME"):
        return _expanded(os.path.expandvars(home)) / "hub"
    return _expanded(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _expanded(path: str) -> Path:
    """Expand "~". If there is no such home directory, the path stays, while pathlib raises an error."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def repo_folder(cache_dir: Path, repo: str) -> Path:
    """Return the folder of a model repository in the Hugging Face cache."""
    return cache_dir / f"models--{repo.replace('/', '--')}"


def delete(folder: Path, model: Path) -> int:
    """Delete `model`, a file or a whole snapshot under the repository `folder`, and return the bytes freed.

    Blobs without links and unfinished downloads that are not in use are also deleted. If the repository is
    then empty, its folder is deleted. If `model` is not in a snapshot of `folder`, nothing is deleted and the
    result is 0.
    """
    snapshots = folder / "snapshots"
    if snapshots not in model.parents:
        return 0
    inside = model.relative_to(snapshots).parts[1:]  # a file has the same path in every snapshot
    entries = [snapshot.joinpath(*inside) for snapshot in snapshots.iterdir()] if inside else model.rglob("*")
    freed = 0
    for entry in list(entries):
        if entry.is_symlink():
            entry.unlink()
        elif entry.is_file():  # on a file system without links
            freed += entry.stat().st_size
            entry.unlink()
    needed = {link.readlink().name for link in snapshots.rglob("*") if link.is_symlink()}
    freed += _delete_blobs(folder / "blobs", needed)
    _delete_empty_folders(folder)
    return freed


def _delete_blobs(blobs: Path, needed: set[str]) -> int:
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
    if not blob.name.endswith(PARTIAL_SUFFIX):
        return blob.name.endswith(".incomplete")
    with blob.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _delete_empty_folders(folder: Path) -> None:
    """Delete empty snapshots, and the repository if it has no snapshot and no unfinished download."""
    for directory, _, _ in os.walk(folder / "snapshots", topdown=False):
        with contextlib.suppress(OSError):  # it is not empty
            Path(directory).rmdir()
    unfinished = any(True for _ in (folder / "blobs").glob("*.incomplete"))
    if not (folder / "snapshots").exists() and not unfinished:
        shutil.rmtree(folder, ignore_errors=True)
