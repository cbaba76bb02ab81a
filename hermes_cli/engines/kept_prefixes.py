"""KV caches of prompts that many conversations begin with, kept on disk between runs in a bounded folder.

It knows names, sizes and ages. It refuses to know what is in a file and which engine wrote it. What is kept
can always be computed again, so a file that cannot be read or written is no error.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 1 << 30
SUFFIX, UNFINISHED = ".safetensors", ".new-"
ABANDONED_S = 600.0
"""A write takes seconds: one that is older belongs to nobody any more."""
FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class KeptPrefixes:
    """The folder, and how many bytes it may hold. What was used longest ago goes first.

    `wanted` says of a system prompt whether it may be kept: what somebody typed may be private.
    """

    folder: Path
    limit: int = LIMIT_BYTES
    wanted: Callable[[str], bool] = lambda _system: True

    def find(self, key: str) -> Path | None:
        """Return the file kept under a key, which counts as used now."""
        path = self._path(key)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def keep(self, key: str, size: int, write: Callable[[Path], None]) -> bool:
        """Keep about `size` bytes under a key, written by `write`, and return whether that was done.

        The file is there whole or not at all, readable by its owner only.
        """
        if size > self.limit // 2:
            return False
        try:
            self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._make_room(size)
            with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=self.folder) as place:
                new = Path(place) / "new"
                write(new)
                new.chmod(0o600)
                new.replace(self._path(key))
        except OSError:
            return False
        return True

    def discard(self, key: str) -> None:
        """Forget what is kept under a key."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def usage(self) -> tuple[int, int]:
        """Return how many prefixes are kept, and their bytes."""
        sizes = [size for _, size, _ in self._files()]
        return len(sizes), sum(sizes)

    def clear(self) -> tuple[int, int]:
        """Delete them all, and return how many there were, and their bytes."""
        before = self.usage()
        self._sweep()
        for _, _, path in self._files():
            with contextlib.suppress(OSError):
                path.unlink()
        return before

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return age, size and path of every file, the one used longest ago first."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}") if self.folder.is_dir() else ():
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        return sorted(found)

    def _sweep(self) -> None:
        """Delete what a write that was killed has left."""
        for place in self.folder.glob(f"{UNFINISHED}*") if self.folder.is_dir() else ():
            with contextlib.suppress(OSError):
                if time.time() - place.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(place, ignore_errors=True)

    def _make_room(self, size: int) -> None:
        self._sweep()
        files = self._files()
        total = sum(one for _, one, _ in files)
        for _, one, path in files:
            if total + size <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= one
