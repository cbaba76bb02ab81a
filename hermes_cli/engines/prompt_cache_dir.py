"""The folder of the prefix cache, which keeps the KV caches of personas' prompts between runs.

The caller reads and writes the contents of the files. A prefix can always be computed again, so a file that
cannot be read or written is not an error. Only system prompts and examples are saved, never the conversation.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_cli.private_files import create_folders

LIMIT_BYTES = 1 << 30
MIN_TOKENS = 16
"""Shorter prefixes are not saved."""
TENSORS, LLAMA_STATES = ".safetensors", ".llama-states"
"""The suffixes of the files of the two engines."""
UNFINISHED = ".new-"
FORMAT_VERSION = 2
ABANDONED_S = 600.0
"""Seconds after which an unfinished write is considered abandoned. A write takes a few seconds."""


@dataclass(frozen=True, slots=True)
class PromptCacheDir:
    """A folder of prefixes. Above `limit` bytes, the least recently used prefixes are deleted.

    `suffix` is that of the files that are found and stored.
    """

    folder: Path
    limit: int = LIMIT_BYTES
    suffix: str = TENSORS

    def find(self, key: str) -> Path | None:
        """Return the file for a key and update its time of last use, or return None if there is no file."""
        path = self._path(key)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def store(self, key: str, size: int, write: Callable[[Path], None]) -> bool:
        """Call `write` to store about `size` bytes under a key. Return whether they were stored.

        The write is atomic, and only the owner can read the file.
        """
        if size > self.limit // 2:
            return False
        try:
            create_folders(self.folder)
            self._evict(size)
            with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=self.folder) as temporary:
                new = Path(temporary) / "new"
                write(new)
                new.chmod(0o600)
                new.replace(self._path(key))
        except OSError:
            return False
        return True

    def discard(self, key: str) -> None:
        """Delete the file for a key, if there is one."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def usage(self) -> tuple[int, int]:
        """Return the number of prefixes and their total size in bytes."""
        sizes = [size for _, size, _ in self._files()]
        return len(sizes), sum(sizes)

    def clear(self) -> tuple[int, int]:
        """Delete all prefixes, and return how many there were and their total size in bytes."""
        before = self.usage()
        self._sweep()
        for _, _, path in self._files():
            with contextlib.suppress(OSError):
                path.unlink()
        return before

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{self.suffix}"

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return the time of last use, size and path of every file, least recently used first."""
        files = []
        for path in self.folder.glob("[!.]*") if self.folder.is_dir() else ():
            with contextlib.suppress(OSError):
                if path.suffix in {TENSORS, LLAMA_STATES}:
                    files.append((path.stat().st_mtime, path.stat().st_size, path))
        return sorted(files)

    def _sweep(self) -> None:
        """Delete the temporary files and folders of abandoned writes."""
        for temporary in self.folder.glob(f"{UNFINISHED}*") if self.folder.is_dir() else ():
            with contextlib.suppress(OSError):
                if time.time() - temporary.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()

    def _evict(self, size: int) -> None:
        self._sweep()
        files = self._files()
        total = sum(file_size for _, file_size, _ in files)
        for _, file_size, path in files:
            if total + size <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= file_size


def prefix_key(
    model: Sequence[object], files: Iterable[Path], libraries: Iterable[str], ids: list[int]
) -> str:
    """Return the key of a prefix.

    It is the same only for equal values in `model`, unchanged files, the same versions of the libraries, and
    the same token ids.
    """
    states = [(path.resolve(), path.stat()) for path in files if path.exists()]
    weights = [(str(path), status.st_size, status.st_mtime_ns) for path, status in states]
    versions = [_version(name) for name in libraries]
    identity = [FORMAT_VERSION, *model, weights, versions, ids]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _version(library: str) -> str:
    import importlib.metadata  # takes 15 ms, and no file is read or written without a persona

    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
