"""Incremental decoders for streamed answers: server-sent events and newline-delimited JSON.

The events do not depend on how the bytes are split into pieces. Everything that a server sends has a limit.

Source: the WHATWG HTML standard, section 9.2, "Server-sent events" (April 2025).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from hermes_cli.errors import ServerError

DONE: Final = "[DONE]"
"""The data of the event that ends a stream of OpenAI's API. Everything after it is ignored."""
_BOM: Final = b"\xef\xbb\xbf"
_SSE_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_NDJSON_LINE_END: Final = re.compile(rb"\n")
_DIGITS: Final = re.compile(r"[0-9]{1,15}")


class StreamLimits(NamedTuple):
    """The maximum bytes of a line, of an event, and of a whole stream."""

    line: int = 1 << 20
    event: int = 2 << 20
    total: int = 256 << 20


class StreamEvent(NamedTuple):
    """An event of a stream. `retry_ms` is the requested time before a new connection, in milliseconds."""

    data: str
    name: str = "message"
    id: str = ""
    retry_ms: int | None = None


class EventDecoder(Protocol):
    """Decodes the bytes of a stream into events. `is_done` is true after the event that ends the stream."""

    is_done: bool

    def decode(self, data: bytes) -> list[StreamEvent]:
        """Add the next bytes and return the events that they complete.

        Raises ServerError if a line, an event or the stream is too long.
        """

    def flush(self) -> list[StreamEvent]:
        """Return the event that the end of the stream completes, if any."""


class _LineSplitter:
    """Splits bytes into lines. A line is returned as soon as its end is known."""

    def __init__(self, line_end: re.Pattern[bytes], limits: StreamLimits) -> None:
        self._line_end = line_end
        self._limits = limits
        self._pending = bytearray()
        self._total = 0
        self._ended_with_cr = False
        """Whether a line feed at the start of the next piece belongs to the last line's end."""

    def split(self, data: bytes) -> Iterator[bytes]:
        if self._ended_with_cr and data:
            data = data.removeprefix(b"\n")
            self._ended_with_cr = False
        *ends, rest = self._line_end.split(data)
        if ends:
            ends[0] = bytes(self._pending) + ends[0]
            self._pending.clear()
            self._ended_with_cr = not rest and data.endswith(b"\r")
        self._pending += rest
        for line in ends:
            self._check(line)
            self._total += len(line) + 1
            yield line
        self._check(self._pending)

    def flush(self) -> bytes:
        rest, self._pending = bytes(self._pending), bytearray()
        return rest

    def _check(self, line: bytes | bytearray) -> None:
        limits = self._limits
        left = limits.total - self._total
        if len(line) <= min(limits.line, left):
            return
        if limits.line <= left:
            raise ServerError(f"the server sent a line of more than {limits.line:,} bytes")
        raise ServerError(f"the server sent more than {limits.total:,} bytes in one answer")


class ServerSentEvents:
    """Decodes server-sent events. As in the standard, an event without its final blank line is dropped."""

    def __init__(self, limits: StreamLimits | None = None) -> None:
        self._limits = limits or StreamLimits()
        self.is_done = False
        self._lines = _LineSplitter(_SSE_LINE_END, self._limits)
        self._start: bytes | None = b""
        """The first bytes, while they may be the start of a byte-order mark; then None."""
        self._data: list[str] = []
        self._size = 0
        self._name = ""
        self._id = ""
        self._retry_ms: int | None = None

    def decode(self, data: bytes) -> list[StreamEvent]:
        """Add the next bytes and return the events that they complete; see EventDecoder.decode."""
        if self.is_done:
            return []
        events = []
        for line in self._lines.split(self._without_bom(data)):
            if line:
                self._add_field(line)
                continue
            event = self._end_event()
            if event is not None and event.data.strip() == DONE:
                self.is_done = True
                break
            if event is not None:
                events.append(event)
        return events

    def flush(self) -> list[StreamEvent]:
        """Drop the incomplete event, if any, and return no event."""
        self._lines.flush()
        self._data, self._size = [], 0
        return []

    def _without_bom(self, data: bytes) -> bytes:
        if self._start is None:
            return data
        data = self._start + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._start = data
            return b""
        self._start = None
        return data.removeprefix(_BOM)

    def _end_event(self) -> StreamEvent | None:
        event = None
        if self._data:
            event = StreamEvent("\n".join(self._data), self._name or "message", self._id, self._retry_ms)
        self._data, self._size, self._name, self._retry_ms = [], 0, "", None
        return event

    def _add_field(self, line: bytes) -> None:
        self._size += len(line)
        if self._size > self._limits.event:
            raise ServerError(f"the server sent an event of more than {self._limits.event:,} bytes")
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _DIGITS.fullmatch(value):
            self._retry_ms = int(value)


class JsonLines:
    """Decodes newline-delimited JSON: each line that is not blank is the data of one event."""

    def __init__(self, limits: StreamLimits | None = None) -> None:
        self.is_done = False
        self._lines = _LineSplitter(_NDJSON_LINE_END, limits or StreamLimits())

    def decode(self, data: bytes) -> list[StreamEvent]:
        """Add the next bytes and return the events that they complete; see EventDecoder.decode."""
        return _json_events(self._lines.split(data))

    def flush(self) -> list[StreamEvent]:
        """Return the last line, if it has no end and is not blank."""
        return _json_events([self._lines.flush()])


def _json_events(lines: Iterable[bytes]) -> list[StreamEvent]:
    texts = (line.decode("utf-8", "replace").strip() for line in lines)
    return [StreamEvent(text) for text in texts if text]
