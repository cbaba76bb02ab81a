"""Reads the placement of the layers and the errors from the log of a llama.cpp child process."""

import io
import re
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import IO, Final

from hermes_cli.placement import Placement

_OFFLOADED: Final = re.compile(r"offloaded (\d{1,6})/(\d{1,6}) layers to GPU")
_BUFFER: Final = re.compile(r"\b([A-Za-z]{1,16}\d{1,3})\w* model buffer size =")
_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|OutOfDeviceMemory|OutOfHostMemory|(?:failed|unable) to allocate", re.IGNORECASE
)
_ERROR: Final = re.compile(r"^[\d.]+ E (?:\w+: )?(.+)")
_LONGEST_ERROR: Final = 200
_LOADED: Final = re.compile(r"n_slots")
_LOG_DELAY_S: Final = 1.0
"""llama.cpp writes its log on a thread, so the last lines may arrive after the model is ready."""
_KEPT_LINES: Final = 4000
_LONGEST_LINE: Final = 4096
_JOIN_S: Final = 2.0


class ChildLog:
    """The log of a child process. A thread reads `stream` to its end and calls `on_line` with each line."""

    def __init__(self, stream: IO[bytes] | None, on_line: Callable[[str], None] | None = None) -> None:
        self._stream = stream or io.BytesIO()
        self._on_line = on_line
        self._loaded = threading.Event()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._thread = threading.Thread(target=self._read, name="llama.cpp log", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            for raw in iter(partial(self._stream.readline, _LONGEST_LINE), b""):
                line = raw.decode("utf-8", "replace").rstrip()
                self._lines.append(line)
                if _LOADED.search(line):
                    self._loaded.set()
                if self._on_line is not None:
                    self._on_line(line)

    def wait(self) -> None:
        """Wait briefly for the child to close its log."""
        self._thread.join(_JOIN_S)

    def clear(self) -> None:
        """Forget the lines so far, which say nothing about later errors."""
        self._lines.clear()

    @property
    def out_of_memory(self) -> bool:
        """Whether the log reports that memory ran out."""
        return any(_OUT_OF_MEMORY.search(line) for line in list(self._lines))

    @property
    def first_error(self) -> str:
        """The first error in the log, which is the most specific one, or an empty string."""
        matches = (_ERROR.search(line) for line in list(self._lines))
        return next((match[1].strip()[:_LONGEST_ERROR] for match in matches if match), "")

    def placement(self) -> Placement | None:
        """Return the placement of the layers, or None if the log does not report it."""
        self._loaded.wait(_LOG_DELAY_S)
        text = "\n".join(list(self._lines))
        counts = _OFFLOADED.search(text)
        if counts is None:
            return None
        on_gpu, total = int(counts[1]), int(counts[2])
        return Placement(tuple(dict.fromkeys(_BUFFER.findall(text))) if on_gpu else (), on_gpu, total)
