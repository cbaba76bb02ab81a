"""Reads llama.cpp's log from a child process: where the layers are, and whether memory ran out."""

import io
import re
import threading
from collections import deque
from collections.abc import Callable
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
"""llama.cpp writes its log on a thread, so that the last lines come after the model is ready."""
_KEPT_LINES: Final = 4000
_JOIN_S: Final = 2.0


class ChildLog:
    """The log in `stream`, which a thread reads until its end. `on_line` is called with each line."""

    def __init__(self, stream: IO[bytes] | None, on_line: Callable[[str], None] | None = None) -> None:
        self._stream = stream or io.BytesIO()
        self._on_line = on_line
        self._loaded = threading.Event()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._thread = threading.Thread(target=self._read, name="llama.cpp log", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            for raw in self._stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self._lines.append(line)
                if _LOADED.search(line):
                    self._loaded.set()
                if self._on_line is not None:
                    self._on_line(line)

    def wait(self) -> None:
        """Wait until the child has closed its log."""
        self._thread.join(_JOIN_S)

    @property
    def out_of_memory(self) -> bool:
        """Whether a message reports that memory ran out."""
        return any(_OUT_OF_MEMORY.search(line) for line in list(self._lines))

    @property
    def first_error(self) -> str:
        """The text of the first error in the log, which is the most specific, or an empty text."""
        found = (_ERROR.search(line) for line in list(self._lines))
        return next((match[1].strip()[:_LONGEST_ERROR] for match in found if match), "")

    def placement(self) -> Placement | None:
        """Return where the layers are, or None if the log does not report it."""
        self._loaded.wait(_LOG_DELAY_S)
        text = "\n".join(list(self._lines))
        counts = _OFFLOADED.search(text)
        if counts is None:
            return None
        on_gpu, total = int(counts[1]), int(counts[2])
        return Placement(tuple(dict.fromkeys(_BUFFER.findall(text))) if on_gpu else (), on_gpu, total)
