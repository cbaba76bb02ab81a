"""File locks that reserve a conversation for one process. The system releases them even after a crash."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from hermes_cli.errors import StoreError
from hermes_cli.store.database import explained

LOCKS_FOLDER = "claims"
"""The name of the folder of lock files, next to the database."""
ATTEMPTS, RETRY_S = 5, 0.01
"""Attempts to take a lock, and seconds between them. Another process's `is_free` may hold it briefly."""
TIMEOUT_S = 3.0
"""Seconds to wait for another process that is replacing a damaged database."""


class ConversationLocks:
    """The conversations that this process has locked, with lock files in a folder.

    Without a folder the store is in memory: no other process can open it, and every lock succeeds.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[int, int] = {}

    def acquire(self, conversation: int) -> bool:
        """Lock a conversation. Return False if another process has locked it.

        Raises StoreError if the file cannot be locked at all.
        """
        if conversation in self._held or self._folder is None:
            return True
        with explained(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._folder / f"{conversation}.lock"
            lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not _lock(lock):
                    release(lock)
                    return False
            except OSError:
                release(lock)
                raise
        self._held[conversation] = lock
        return True

    def is_free(self, conversation: int) -> bool:
        """Return whether neither this process nor any other has locked a conversation."""
        if conversation in self._held or not self.acquire(conversation):
            return False
        release(self._held.pop(conversation))
        return True

    def keep_only(self, conversation: int | None) -> None:
        """Release all locks but one; None releases all."""
        for number in [number for number in self._held if number != conversation]:
            release(self._held.pop(number))

    def release(self) -> None:
        """Release all locks. The files stay: another process may hold or wait for a lock on them."""
        self.keep_only(None)


def _lock(lock: int) -> bool:
    """Lock a file, and return whether that worked. Retry: another process's `is_free` may hold the lock."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(RETRY_S)
    return False


def lock_database(database: Path, *, exclusive: bool = False) -> int:
    """Lock a database while this process has it open, and return the lock. The caller must `release` it.

    Any number of processes can share the lock. With `exclusive`, no other process has the database open, so
    that it can be replaced. Raises StoreError if the lock is not free within TIMEOUT_S.
    """
    with explained(database):
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(database.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(int(TIMEOUT_S / RETRY_S)):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                    return lock
                time.sleep(RETRY_S)
        except BaseException:
            release(lock)
            raise
    release(lock)
    if exclusive:
        raise StoreError(f"{database} is open in another window", "close that window, then try again")
    raise StoreError(f"{database} is being repaired in another window", "wait a moment, then try again")


def release(lock: int) -> None:
    """Close the file of a lock. The system releases the lock even if closing reports an error."""
    with contextlib.suppress(OSError):
        os.close(lock)
