"""Downloads a file from the hub into the Hugging Face cache, resumes across runs, and checks the hash.

huggingface_hub resumes a broken connection only within one call, and deletes the partial file when the call
ends (source: 2.4.0, `_download_to_tmp_and_move`), so Ctrl-C could discard 4 GB. This module writes to its own
partial file next to the cache's blobs. A complete file is renamed to the blob's name, and huggingface_hub
creates the link to it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from hermes_cli.errors import DownloadError, ResourcesExhausted
from hermes_cli.models.download import Progress, require_space, size_text
from hermes_cli.models.hub.cache import PARTIAL_SUFFIX, repo_folder
from hermes_cli.models.hub.errors import AGAIN, transport_error

TIMEOUT_S = 30.0
ATTEMPTS = 5
"""The download fails after this many consecutive connections without new bytes."""
PAUSE_S = 1.0
CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTIAL, _RANGE_REFUSED = 206, 416


class RemoteFile(NamedTuple):
    """A file of a repository at one commit. `etag` is the blob's name in the cache, and `size` is in bytes.

    For files stored in LFS or Xet, which include all weights, the etag is the SHA-256.
    """

    repo: str
    name: str
    commit: str
    etag: str
    size: int
    url: str


class Route(NamedTuple):
    """The hub's address (None for the default of huggingface_hub) and the cache folder to download to.

    A broken connection is retried after `pause_s` seconds.
    """

    endpoint: str | None
    cache_dir: Path
    pause_s: float = PAUSE_S


def look_up(repo: str, name: str, endpoint: str | None) -> RemoteFile:
    """Request the metadata of a file from the hub. Raises DownloadError or huggingface_hub's errors."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    meta = get_hf_file_metadata(
        hf_hub_url(repo, name, endpoint=endpoint), endpoint=endpoint, timeout=TIMEOUT_S
    )
    if meta.commit_hash is None or meta.etag is None or meta.size is None:
        raise DownloadError(
            f"the server did not report the size of {name}",
            "check HF_ENDPOINT and the proxy settings",
        )
    if not re.fullmatch(r"[\w.-]+", meta.etag):
        raise DownloadError(f"the server reported an invalid ETag for {name}", "check HF_ENDPOINT")
    url = hf_hub_url(repo, name, revision=meta.commit_hash, endpoint=endpoint)
    return RemoteFile(repo, name, meta.commit_hash, meta.etag, meta.size, url)


def _blob_path(remote: RemoteFile, cache_dir: Path) -> Path:
    return repo_folder(cache_dir, remote.repo) / "blobs" / remote.etag


def missing_bytes(remote: RemoteFile, cache_dir: Path) -> int:
    """Return how many bytes of the file remain to be downloaded."""
    blob = _blob_path(remote, cache_dir)
    if blob.exists():
        return 0
    try:
        received = _partial_path(blob).lstat().st_size
    except FileNotFoundError:
        received = 0
    return remote.size - min(remote.size, received)


def fetch(remote: RemoteFile, route: Route, progress: Progress) -> Path:
    """Download the missing bytes of the file and return its path in the cache.

    Broken connections are retried until ATTEMPTS consecutive connections bring no new bytes.

    Raises DownloadError if the file is incomplete or has the wrong hash, ResourcesExhausted if the disk is
    full or another process is downloading the file, and huggingface_hub's errors.
    """
    from huggingface_hub import hf_hub_download

    cache_dir = route.cache_dir
    blob = _blob_path(remote, cache_dir)
    if not blob.exists():
        require_space(missing_bytes(remote, cache_dir), cache_dir)
        blob.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_partial_path(blob), remote) as file:
            if not blob.exists():  # another process may have completed it
                _receive(remote, file, progress, route.pause_s)
                _check_hash(remote, file, progress)
                _partial_path(blob).replace(blob)
    progress(remote.name, remote.size, remote.size)
    path = hf_hub_download(
        remote.repo, remote.name, revision=remote.commit, cache_dir=cache_dir, endpoint=route.endpoint
    )
    _write_main_ref(remote, cache_dir)
    return Path(path)


def _partial_path(blob: Path) -> Path:
    return blob.with_name(blob.name + PARTIAL_SUFFIX)


@contextlib.contextmanager
def _locked(path: Path, remote: RemoteFile) -> Iterator[IO[bytes]]:
    with _open_partial(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ResourcesExhausted(
                f"another process is downloading {remote.name}", "wait for it to finish"
            ) from None
        yield file


def _open_partial(path: Path) -> IO[bytes]:
    """Open a partial file for appending. Raises DownloadError if writing to it would change another file."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = open(os.open(path, flags, 0o666), "a+b")  # noqa: PTH123, SIM115 - the caller closes it
    except OSError as error:
        if path.is_symlink():
            raise _not_a_partial_file(path, f"a symbolic link to {os.readlink(path)!r}") from None  # noqa: PTH115 - text
        if path.exists() and not path.is_file():
            raise _not_a_partial_file(path, "not an ordinary file") from None
        raise error from None
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return file
    file.close()
    is_file = stat.S_ISREG(status.st_mode)
    raise _not_a_partial_file(path, "a hard link to another file" if is_file else "not an ordinary file")


def _not_a_partial_file(path: Path, kind: str) -> DownloadError:
    return DownloadError(
        f"{path}, where the download would be written, is {kind}",
        "delete it, and run the command again",
    )


def _receive(remote: RemoteFile, file: IO[bytes], progress: Progress, pause_s: float) -> None:
    """Append to `file` until it has the size that the hub reported, and reconnect as needed."""
    from huggingface_hub.errors import HfHubHTTPError

    broken = transport_error()
    if file.seek(0, 2) > remote.size:
        _clear(file)
    idle_count, largest = 0, file.tell()
    while file.tell() < remote.size:
        failure: Exception | None = None
        try:
            _receive_once(remote, file, progress)
        except HfHubHTTPError:  # a response with an error status, not a broken connection
            raise
        except broken as error:
            failure = error
        file.flush()
        idle_count = 0 if file.seek(0, 2) > largest else idle_count + 1
        largest = max(largest, file.tell())
        if idle_count >= ATTEMPTS:
            sizes = f"{size_text(largest)} of {size_text(remote.size)}"
            raise DownloadError(f"the download of {remote.name} stopped at {sizes}", AGAIN) from failure
        if file.tell() < remote.size:
            time.sleep(pause_s)
    if file.tell() != remote.size:
        _clear(file)
        raise DownloadError(f"{remote.name} is longer than the hub reported", AGAIN)


def _receive_once(remote: RemoteFile, file: IO[bytes], progress: Progress) -> None:
    import huggingface_hub

    utils: Any = huggingface_hub.utils  # its stubs do not export two documented functions

    start = file.seek(0, 2)
    headers: dict[str, Any] = {**utils.build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    # On a redirect to another host, the client drops the Authorization header, so the token does not leak.
    with huggingface_hub.get_session().stream(
        "GET", remote.url, headers=headers, timeout=TIMEOUT_S
    ) as response:
        if response.status_code == _RANGE_REFUSED:
            _clear(file)
            raise DownloadError(f"{remote.name} is shorter than the hub reported", "download it again")
        utils.hf_raise_for_status(response)
        if start and response.status_code != _PARTIAL:  # the server sends the whole file
            _clear(file)
        for chunk in response.iter_bytes():
            file.write(chunk)
            progress(remote.name, min(file.tell(), remote.size), remote.size)
            if file.tell() > remote.size:
                return


def _clear(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _check_hash(remote: RemoteFile, file: IO[bytes], progress: Progress) -> None:
    if not _SHA256.fullmatch(remote.etag):
        return
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        progress(f"checking {remote.name}", file.tell(), remote.size)
    if digest.hexdigest() != remote.etag:
        _clear(file)
        raise DownloadError(f"{remote.name} has the wrong SHA-256 and was deleted", "download it again")


def _write_main_ref(remote: RemoteFile, cache_dir: Path) -> None:
    """Write the commit to refs/main, as huggingface_hub does, so that offline lookups find it."""
    ref = repo_folder(cache_dir, remote.repo) / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    # A rename replaces a symbolic link, and does not follow it.
    with tempfile.TemporaryDirectory(prefix=".hermes-", dir=ref.parent) as folder:
        new = Path(folder) / "main"
        new.write_text(remote.commit, encoding="utf-8")
        new.replace(ref)
