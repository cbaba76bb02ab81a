"""Which process has which conversation: a lock that the system takes back however the process ends."""

import contextlib
import fcntl
import os
from pathlib import Path

from hermes_cli.store.database import explained

CLAIMS = "claims"
"""The folder's name, beside the database."""


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
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                _close(lock)
                if isinstance(error, BlockingIOError):
                    return False
                raise
        self._held[conversation] = lock
        return True

    def is_free(self, conversation: int) -> bool:
        """Return whether nobody has claimed a conversation, this process among them."""
        if conversation in self._held or not self.take(conversation):
            return False
        _close(self._held.pop(conversation))
        return True

    def any_elsewhere(self) -> bool:
        """Return whether another process has claimed anything."""
        files = self._folder.glob("*.lock") if self._folder is not None else ()
        numbers = (int(file.stem) for file in files if file.stem.isdecimal())
        return any(number not in self._held and not self.is_free(number) for number in numbers)

    def release(self) -> None:
        """Let all of them go. The files stay: deleting one could pull it from under another's lock."""
        while self._held:
            _close(self._held.popitem()[1])


def _close(lock: int) -> None:
    """Close a lock's file. The system lets go of it also where it says that closing failed."""
    with contextlib.suppress(OSError):
        os.close(lock)
