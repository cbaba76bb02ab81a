"""Connections to model servers that can be cancelled at any time, and that have deadlines.

The module imports httpx2, so it is itself imported with the first request. `Backend` implements the network
backend of httpcore2, which otherwise blocks in the operating system until a time limit: because of a name
server, a host that does not answer, or a model that is still loading.
"""

import errno
import ipaddress
import math
import os
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final, TypeVar

import httpcore2
import httpx2

from hermes_cli.engines.remote.proxy import Proxy
from hermes_cli.engines.remote.timer import RequestTimer
from hermes_cli.errors import ConfigError, ServerUnavailable

T = TypeVar("T")
_CONNECTING: Final = {0, errno.EINPROGRESS}
_PLAIN_ANSWERS: Final = {
    "WRONG_VERSION_NUMBER",
    "PACKET_LENGTH_TOO_LONG",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
}
"""OpenSSL's reasons for an answer that is not encrypted, which differ between its versions."""

Check = Callable[[str], None]
"""Called with the IP address before a connection is made; it raises an error to refuse the address."""


class Backend(httpcore2.NetworkBackend):
    """Connects to servers, or to their proxy, within the time of one request."""

    def __init__(self, timer: RequestTimer, check: Check, proxy: Proxy | None = None) -> None:
        self._timer = timer
        self._check = check
        self._proxy = proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the timer has the limits
        local_address: str | None = None,  # noqa: ARG002 - the interface of httpcore2
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - as above
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of the host that accepts a connection.

        Raises ServerUnavailable if the host is unknown, ConnectError if none of its addresses accepts, and
        RequestCancelled.
        """
        self._timer.connecting()
        reason = "it has no address"
        addresses = _resolve(host, port, self._timer)
        if addresses is None and self._proxy is not None:
            raise ServerUnavailable(f"{self._proxy} has an unknown host", self._proxy.hint)
        if addresses is None:
            raise ServerUnavailable(f"the host {host} is unknown", "check the address")
        for number, (family, address) in enumerate(addresses):
            self._check(address[0])
            # An address that does not answer, as IPv6 in some networks, leaves time for the others.
            others = len(addresses) - number - 1
            limit_s = self._timer.left_s / (others + 1) if others else math.inf
            try:
                connection = _connect(family, address, self._timer, limit_s)
                self._timer.waiting()
                return Stream(connection, self._timer)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
        raise httpcore2.ConnectError(f"{host} port {port}: {reason}")

    def sleep(self, seconds: float) -> None:
        """Wait, as httpcore2 does between its own retries, which are not used."""
        self._timer.pausing(seconds)


Address = tuple[Any, ...]


def _resolve(host: str, port: int, timer: RequestTimer) -> list[tuple[socket.AddressFamily, Address]] | None:
    """Return the addresses of a host, or None if it is unknown.

    A thread asks the name server, because that cannot be cancelled.
    """
    with suppress(ValueError):
        ip = ipaddress.ip_address(host)
        if isinstance(ip, ipaddress.IPv4Address):
            return [(socket.AF_INET, (host, port))]
        return [(socket.AF_INET6, (host, port, 0, 0))]
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    while True:
        try:
            answer = answers.get(timeout=timer.remaining())
            break
        except queue.Empty:
            continue
    if isinstance(answer, Exception):
        return None
    return [(family, address) for family, _type, _protocol, _name, address in answer]


def _connect(
    family: socket.AddressFamily, address: Address, timer: RequestTimer, limit_s: float
) -> socket.socket:
    """Return a connection. Raises OSError, also after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003 - its parameter has no name
        _finish_connecting(connection, connection.connect_ex(address), timer, end)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def _finish_connecting(connection: socket.socket, code: int, timer: RequestTimer, end: float) -> None:
    if code not in _CONNECTING:
        raise OSError(code, os.strerror(code))
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    while not poll.poll(timer.remaining() * 1000):
        if time.monotonic() > end:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    if code := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


class Stream(httpcore2.NetworkStream):
    """A connection whose reads and writes end when its request is cancelled."""

    def __init__(self, connection: socket.socket, timer: RequestTimer) -> None:
        self._socket = connection
        self._timer = timer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - see above
        """Return the next bytes, or b"" at the end."""
        return self._retry(lambda: self._socket.recv(max_bytes), httpcore2.ReadError)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - see above
        """Send all bytes."""
        left = memoryview(buffer)
        while left:
            left = left[self._retry(partial(self._socket.send, left), httpcore2.WriteError) :]

    def _retry(self, action: Callable[[], T], error_type: type[Exception]) -> T:
        """Repeat an action on the socket until it succeeds, for as long as the timer permits."""
        while True:
            self._socket.settimeout(self._timer.remaining())
            try:
                return action()
            except TimeoutError:
                continue
            except OSError as error:
                reason = getattr(error, "verify_message", "") or error.strerror or str(error)
                raise error_type(reason) from None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the timer has the limits
    ) -> httpcore2.NetworkStream:
        """Encrypt the connection, and verify the server's certificate."""
        if isinstance(self._socket, ssl.SSLSocket):
            raise ConfigError("a proxy with https:// is not supported", "use http:// in HTTPS_PROXY")
        self._timer.connecting()
        encrypted = ssl_context.wrap_socket(
            self._socket, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        stream = Stream(encrypted, self._timer)
        try:
            stream._retry(encrypted.do_handshake, httpcore2.ConnectError)
        except httpcore2.ConnectError as error:
            stream.close()
            raise _handshake_error(f"{server_hostname}", error.__context__ or error) from None
        except BaseException:
            stream.close()
            raise
        self._timer.waiting()
        return stream

    def get_extra_info(self, info: str) -> Any:
        """Return the socket or its TLS object, for httpcore2."""
        if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket):
            return self._socket
        return self._socket if info == "socket" else None


def _handshake_error(host: str, error: BaseException) -> ServerUnavailable:
    """Return the error for a connection to a host that cannot be encrypted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerUnavailable(
            f"the certificate of {host} is not valid: {error.verify_message}",
            "SSL_CERT_FILE names a file with the certificates to trust, such as that of your own authority",
        )
    reason = getattr(error, "reason", "") or ""
    if reason in _PLAIN_ANSWERS:
        return ServerUnavailable(
            f"the server at {host} does not speak HTTPS on this port", "try http:// instead of https://"
        )
    shown = reason.lower().replace("_", " ") or getattr(error, "strerror", "") or str(error)
    return ServerUnavailable(
        f"the encrypted connection to {host} failed: {shown}",
        "check that the URL begins with https:// only if the server does, and its certificate",
    )


@cache
def _unused_context() -> ssl.SSLContext:
    """Return the context of plain HTTP, which does not use it. Making one takes 0.3 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Transport(httpx2.BaseTransport):
    """Sends one request over a connection of its own, through the proxy if there is one."""

    def __init__(
        self, timer: RequestTimer, check: Check, ssl_context: ssl.SSLContext | None, proxy: Proxy | None
    ) -> None:
        context = ssl_context or _unused_context()
        backend = Backend(timer, check, proxy)
        if proxy is None:
            self._pool = httpcore2.ConnectionPool(ssl_context=context, network_backend=backend)
            return
        host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
        authorization = [("Proxy-Authorization", proxy.authorization)] if proxy.authorization else []
        self._pool = httpcore2.HTTPProxy(
            f"http://{host}:{proxy.port}",
            proxy_headers=authorization,
            ssl_context=context,
            network_backend=backend,
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return the response, whose body is not read yet."""
        if not isinstance(request.stream, httpx2.SyncByteStream):
            raise TypeError("the body of the request is not bytes")
        url = request.url
        response = self._pool.handle_request(
            httpcore2.Request(
                request.method,
                httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(response.status, headers=response.headers, stream=Body(response))

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()


class Body(httpx2.SyncByteStream):
    """The body of a response of httpcore2."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self._response.close()
