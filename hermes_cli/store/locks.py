"""File locks on conversations and on the database. The system releases them even after a crash."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from hermes_cli.errors import StoreError
from hermes_cli.private_files import create_folders
from hermes_cli.store.database import explained

LOCKS_FOLDER = "claims"
"""The name of the folder of lock files, next to the database."""

RETRY_S = 0.01
"""Seconds between two attempts to take a lock."""
IS_FREE_S = 0.05
"""Seconds to wait for a lock that another process may hold only briefly, in `is_free`."""
TIMEOUT_S = 3.0
"""Seconds to wait while another process replaces a damaged database."""


class ConversationLocks:
    """This process's locks on conversations. Each lock is a file in a folder.

    Without a folder, the store is in memory: no other process can open it, and every lock succeeds.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[int, int] = {}

    def acquire(self, conversation: int) -> bool:
        """Lock a conversation. Return False if another process has locked it.

        Raises StoreError if the lock file cannot be opened or locked.
        """
        if conversation in self._held or self._folder is None:
            return True
        lock = _locked(self._folder / f"{conversation}.lock", fcntl.LOCK_EX, IS_FREE_S)
        if lock is None:
            return False
        self._held[conversation] = lock
        return True

    def is_free(self, conversation: int) -> bool:
        """Return whether no process, including this one, has locked a conversation."""
        if conversation in self._held or not self.acquire(conversation):
            return False
        self.drop(conversation)
        return True

    def keep_only(self, conversation: int | None) -> None:
        """Release all locks except the one on `conversation`, if any."""
        for number in [number for number in self._held if number != conversation]:
            self.drop(number)

    def drop(self, conversation: int) -> None:
        """Release the lock on a conversation, if this process holds it."""
        if conversation in self._held:
            release(self._held.pop(conversation))

    def release(self) -> None:
        """Release all locks. The files are not deleted, because another process may be using them."""
        self.keep_only(None)


def _locked(file: Path, operation: int, patience_s: float) -> int | None:
    """Return the descriptor of a locked file, or None if it cannot be locked within `patience_s` seconds.

    Raises StoreError if the file cannot be opened or locked. A symbolic link is not followed.
    """
    with explained(file):
        create_folders(file.parent)
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            for _ in range(int(patience_s / RETRY_S)):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, operation | fcntl.LOCK_NB)
                    return lock
                time.sleep(RETRY_S)
        except BaseException:
            release(lock)
            raise
    release(lock)
    return None


def lock_database(database: Path, *, exclusive: bool = False) -> int:
    """Lock a database, and return the lock. The caller must `release` it after closing the database.

    Any number of processes can share the lock, unless it is `exclusive`: then no other process has the
    database open, so it can be replaced. Raises StoreError if the lock is not acquired within TIMEOUT_S.
    """
    operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    lock = _locked(database.with_suffix(".lock"), operation, TIMEOUT_S)
    if lock is not None:
        return lock
    if exclusive:
        raise StoreError(f"{database} is open in another window", "close that window, then try again")
    raise StoreError(f"{database} is being repaired in another window", "wait a moment, then try again")


def release(lock: int) -> None:
    """Release a lock by closing its file. Errors are ignored: the lock is released anyway."""
    with contextlib.suppress(OSError):
        os.close(lock)
