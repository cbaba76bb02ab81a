"""The time limits of a request to a model server, and its cancellation."""

import time
from dataclasses import dataclass
from typing import Final

from hermes_cli.engines.base import Cancel, RequestCancelled
from hermes_cli.errors import ServerBusy, ServerError, ServerUnavailable

POLL_S: Final = 0.05
"""How often a wait checks whether the request was cancelled."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The maximum seconds for connecting, until the first byte, between two reads, and in total."""

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    between_bytes_s: float = 60.0
    total_s: float = float("inf")


class RequestTimer:
    """The time that a request may take. `where` is the server's name for error messages.

    Each phase of the request starts with `connecting`, `waiting` or `reading`; a wait in it asks `remaining`
    how long it may block.
    """

    def __init__(self, limits: TimeLimits, cancel: Cancel, where: str) -> None:
        self._limits = limits
        self._cancel = cancel
        self._where = where
        self._end = time.monotonic() + limits.total_s
        self._phase = ""
        self._deadline = self._end

    def connecting(self) -> None:
        """Start to connect."""
        self._start("connect", self._limits.connect_s)

    def waiting(self) -> None:
        """Start to wait for the first byte of the answer."""
        self._start("first", self._limits.first_byte_s)

    def reading(self) -> None:
        """Start to wait for the next bytes of the answer."""
        self._start("next", self._limits.between_bytes_s)

    def pausing(self, seconds: float) -> None:
        """Wait before the next try."""
        end = time.monotonic() + seconds
        self._deadline = self._end
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, self.remaining()))

    def _start(self, phase: str, seconds: float) -> None:
        self._phase = phase
        self._deadline = min(time.monotonic() + seconds, self._end)

    def remaining(self) -> float:
        """Return how many seconds a wait may block before it asks again; at most POLL_S.

        Raises RequestCancelled, or the error of a server that is too slow.
        """
        if self._cancel.is_set():
            raise RequestCancelled
        left = self.left_s
        if left <= 0:
            raise self._error()
        return min(left, POLL_S)

    @property
    def left_s(self) -> float:
        """The seconds that are left for this phase."""
        return self._deadline - time.monotonic()

    def _error(self) -> ServerError | ServerBusy | ServerUnavailable:
        limits, where = self._limits, self._where
        if self._phase == "connect":
            message = f"{where} does not accept the connection within {limits.connect_s:g} seconds"
            return ServerUnavailable(message, "check the address, and that the server is running")
        if self._phase == "first":
            message = f"{where} has sent no answer for {min(limits.first_byte_s, limits.total_s):g} seconds"
            longer = (
                ", or set a longer timeout in [servers.NAME]" if limits.first_byte_s < limits.total_s else ""
            )
            return ServerBusy(message, f"try again later{longer}")
        seconds = min(limits.between_bytes_s, limits.total_s)
        return ServerError(
            f"{where} has stopped in the middle of an answer for {seconds:g} seconds", "try again"
        )
