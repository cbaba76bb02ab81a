"""Which process has which conversation: a lock that the system takes back however the process ends."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from hermes_cli.errors import StoreError
from hermes_cli.store.database import explained

CLAIMS = "claims"
"""The folder's name, beside the database."""

LOOKS, LOOK_S = 5, 0.01
"""So often, and so far apart, a lock is asked for: `is_free` takes it for a moment."""
PATIENCE_S = 3.0
"""How long another window may take to put a new database in the place of a damaged one."""


class Claims:
    """The conversations that this process has claimed, by lock files in a folder. None is claimed twice.

    Without a folder there is nobody else who could.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[int, int] = {}

    def take(self, conversation: int) -> bool:
        """Claim a conversation, and return whether it is this process' now: another one may have it.

        Raises StoreError where the system gives no lock to anybody.
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
        """Return whether nobody has claimed a conversation, this process among them."""
        if conversation in self._held or not self.take(conversation):
            return False
        release(self._held.pop(conversation))
        return True

    def keep_only(self, conversation: int | None) -> None:
        """Let go of all but one conversation; None lets go of all."""
        for number in [number for number in self._held if number != conversation]:
            release(self._held.pop(number))

    def release(self) -> None:
        """Let all of them go. The files stay: deleting one could pull it from under another's lock."""
        self.keep_only(None)


def _lock(lock: int) -> bool:
    """Lock a file, and return whether that could be: another window may be having a look, but no longer."""
    for _ in range(LOOKS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(LOOK_S)
    return False


def presence(database: Path, *, alone: bool = False) -> int:
    """Return a lock that says that this process has a database open; `release` gives it back.

    Any number of processes may have it, or one that is `alone` with the database, to put another in its
    place. Raises StoreError where that cannot be had.
    """
    with explained(database):
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(database.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(int(PATIENCE_S / LOOK_S)):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                    return lock
                time.sleep(LOOK_S)
        except BaseException:
            release(lock)
            raise
    release(lock)
    what = "another window has it open: close that one" if alone else "another window is mending it"
    raise StoreError(f"{database} is in use: {what} first", "then try again")


def release(lock: int) -> None:
    """Close a lock's file. The system lets go of it also where it says that closing failed."""
    with contextlib.suppress(OSError):
        os.close(lock)
