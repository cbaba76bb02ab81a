"""The input history, in a file that all windows share and that only its owner can read."""

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from hermes_cli.repl.folded_paste import Pastes
from hermes_cli.store import input_history

MAX_KEPT = 100_000
"""Longer lines, in characters, are not saved."""


class TypedLines:
    """The typed lines: the history of the prompt, and the folded pastes in the edited line.

    `may_save` returns whether lines may be written to the file; `report` prints a problem.
    """

    def __init__(self, path: Path, may_save: Callable[[], bool], report: Callable[[str], None]) -> None:
        self.pastes = Pastes()
        self._path = path
        self._may_save = may_save
        self._report = report
        self._of_this_run: set[str] = set()
        self.history = self._open()

    def _open(self) -> History:
        """Open the file, or start a history in memory if the file must not or cannot be used."""
        if self._may_save():
            try:
                return PrivateHistory(self._path, self._may_save, self.pastes.unfold)
            except OSError as error:
                self._report(f"typed lines are not saved: {self._path}: {error.strerror}")
        return MemoryHistory(self.pastes.unfold)

    def add(self, line: str) -> None:
        """Record a line that was typed in this run, for `forget`."""
        self._of_this_run.add(line)

    def refresh(self) -> None:
        """Read the file again if another window wrote to it."""
        if isinstance(self.history, PrivateHistory) and self.history.is_stale:
            self.history = self._open()

    def forget(self, lines: Collection[str]) -> None:
        """Remove the lines, and every line typed in this run, from the input history."""
        try:
            input_history.forget(self._path, {*lines, *self._of_this_run})
        except OSError as error:
            self._report(f"the typed lines are still in {self._path}: {error.strerror}")
        self.history = self._open()


class _Unfolding(History):
    """A history that saves lines with their pastes unfolded, and skips private and long lines."""

    unfold: Callable[[str], str]

    def append_string(self, string: str) -> None:
        """Save a line, unless it begins with a space or is longer than MAX_KEPT."""
        line = self.unfold(string)
        if not line.startswith(" ") and len(line) <= MAX_KEPT:
            super().append_string(line)


class MemoryHistory(_Unfolding, InMemoryHistory):
    """An input history that is kept for this run only."""

    def __init__(self, unfold: Callable[[str], str]) -> None:
        self.unfold = unfold
        super().__init__()


class PrivateHistory(_Unfolding, FileHistory):
    """prompt_toolkit's history file, which is written only while `is_open` returns True."""

    def __init__(
        self, path: Path, is_open: Callable[[], bool], unfold: Callable[[str], str] = lambda line: line
    ) -> None:
        input_history.make(path)
        self._path = path
        self._is_open = is_open
        self.unfold = unfold
        self._last_stamp = _stamp(path)
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        """Append a line to the file."""
        if self._is_open():
            with contextlib.suppress(OSError):  # a full disk must not end the conversation
                was_stale = self.is_stale
                input_history.add(self._path, string)
                if not was_stale:
                    self._last_stamp = _stamp(self._path)

    @property
    def is_stale(self) -> bool:
        """Whether another window has written to the file since it was read."""
        return _stamp(self._path) != self._last_stamp


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
