"""An HTTP server for fakes, which can also behave badly: each Fault is one way."""

import gzip
import json
import select
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

EVENTS = "text/event-stream"
NDJSON = "application/x-ndjson"


@dataclass
class Request:
    """A request that a fake has received."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Reply:
    """A response: JSON, or the pieces of a stream."""

    body: Any = None
    status: int = 200
    kind: str = "application/json"
    pieces: Iterable[bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def parts(self) -> Iterator[bytes]:
        if self.pieces is not None:
            yield from self.pieces
        else:
            yield self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Fault:
    """A way to answer badly. `times` is how many requests it affects.

    `before_s` delays the response, and `between_s` each piece of it. `status` answers with an error, and
    `reply` with anything. `cut_after` closes the connection after so many pieces, and `silent_after` sends
    nothing more. `raw` is sent instead of HTTP; "" closes the connection. `rewrite` changes the pieces of a
    stream; it closes the connection by raising ConnectionAbortedError. `kind` replaces the content type.
    """

    before_s: float = 0.0
    between_s: float = 0.0
    status: int = 0
    reply: Reply | None = None
    cut_after: int | None = None
    silent_after: int | None = None
    raw: bytes | None = None
    rewrite: Callable[[Iterator[bytes]], Iterator[bytes]] | None = None
    kind: str = ""
    times: int = 1_000_000
    path: str = ""
    """Only requests for this path are affected; "" for all."""
    text: str = ""
    """Only requests whose body contains this text are affected."""

    def affects(self, request: Request) -> bool:
        """Return whether the fault affects the response to a request."""
        is_there = self.path in ("", request.path) and self.text in json.dumps(request.body)
        return is_there and self.times > 0


def sse(value: Any) -> bytes:
    """Return a server-sent event with JSON data, or with text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return b"data: " + text.encode() + b"\n\n"


def line(value: Any) -> bytes:
    """Return a line of newline-delimited JSON."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def gzip_bomb(size: int = 64 << 20) -> Reply:
    """Return a small compressed response of `size` decompressed bytes."""
    return Reply(gzip.compress(b" " * size), headers={"Content-Encoding": "gzip"})


class FakeServer(ABC):
    """A server on a random loopback port. Subclasses implement `reply`.

    `requests` are those received, `closed_early` counts the connections that the client closed during a
    response, and `key` is required if it is not empty. As a proxy, it connects to the
    port `tunnel`. With a `certificate`, the server speaks HTTPS.
    """

    def __init__(self, key: str = "", fault: Fault | None = None, certificate: Path | None = None) -> None:
        self.key = key
        self.fault = fault
        self.requests: list[Request] = []
        self.closed_early = 0
        self.tunnel = 0
        self.port = 0
        self._certificate = certificate
        self._listen()

    def _listen(self) -> None:
        self.stopping = threading.Event()
        address = "127.0.0.1", self.port
        self._server = ThreadingHTTPServer(address, type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads = True
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The URL of the OpenAI API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port, and the connections within 10 ms."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def start_again(self) -> None:
        """Listen on the same port as before `stop`."""
        self._listen()
        self._thread.start()

    @abstractmethod
    def reply(self, request: Request) -> Reply:
        """Return the response to a request."""

    def error(self, status: int, message: str) -> Reply:
        """Return an error as this server writes it."""
        return Reply({"error": {"message": message, "type": "error", "code": status}}, status)

    def take_fault(self, request: Request) -> Fault:
        """Return the fault for the response to a request."""
        fault = self.fault
        if fault is None or not fault.affects(request):
            return Fault()
        fault.times -= 1
        return fault

    def paths(self) -> list[str]:
        """Return the paths of the requests."""
        return [request.path for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer  # a subclass has it
    stopping: threading.Event

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Print nothing."""

    def do_GET(self) -> None:
        self._serve(None)

    def do_CONNECT(self) -> None:
        """Connect to the fake's `tunnel`, whatever the host is, and pass the bytes on."""
        self.fake.requests.append(Request(self.command, self.path, {}, None))
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.fake.tunnel)) as other:
            ends = {self.connection: other, other: self.connection}
            while True:
                for end in select.select([*ends], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    ends[end].sendall(data)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        data = self.rfile.read(length)
        if len(data) == length:  # otherwise, the client has closed the connection
            self._serve(json.loads(data) if data else None)

    def _serve(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.fake.requests.append(request)
        fault = self.fake.take_fault(request)
        self.stopping = self.fake.stopping
        self.close_connection = True
        try:
            self._wait(fault.before_s)
            if fault.raw is not None:
                self.wfile.write(fault.raw)
                return
            self._send(self._reply(request, fault), fault)
        except (BrokenPipeError, ConnectionResetError):
            self.fake.closed_early += 1
        except ConnectionAbortedError:
            pass

    def _reply(self, request: Request, fault: Fault) -> Reply:
        if fault.reply is not None:
            return fault.reply
        if fault.status:
            return self.fake.error(fault.status, f"fake error {fault.status}")
        if self.fake.key and request.key != self.fake.key:
            return self.fake.error(401, "Invalid API Key")
        return self.fake.reply(request)

    def _send(self, reply: Reply, fault: Fault) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", fault.kind or reply.kind)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        parts = fault.rewrite(reply.parts()) if fault.rewrite is not None else reply.parts()
        for number, part in enumerate(parts):
            if fault.cut_after == number or self.stopping.is_set():
                return
            if fault.silent_after == number:
                self._wait(60)
            self._wait(fault.between_s)
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _wait(self, seconds: float) -> None:
        """Wait until the time is over, the server stops, or the client closes the connection."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping.is_set():
            time.sleep(min(0.01, seconds))
            if seconds > 1 and self._is_closed():
                raise ConnectionResetError

    def _is_closed(self) -> bool:
        ready, _, _ = select.select([self.connection], [], [], 0)
        return bool(ready) and not self.connection.recv(1, socket.MSG_PEEK)
