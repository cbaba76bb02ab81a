"""A small HTTP client for model servers: JSON requests, and streams of events that can be cancelled.

Each request has a connection of its own, so that closing it stops that answer and nothing else. Redirects
are refused, because the key would follow them. httpx2 is imported with the first request.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hermes_cli import __version__
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import ServerAddress, is_private
from hermes_cli.engines.remote.event_stream import EventDecoder, StreamEvent
from hermes_cli.engines.remote.failures import EndpointMissing, StatusError, error_for, one_line
from hermes_cli.engines.remote.key import Key
from hermes_cli.engines.remote.proxy import proxy_for
from hermes_cli.engines.remote.timer import RequestTimer, TimeLimits
from hermes_cli.errors import HermesError, ServerBusy, ServerError, ServerUnavailable, UsageError
from hermes_cli.untrusted import json_parser
from hermes_cli.untrusted.json_parser import JsonLimits
from hermes_cli.untrusted.source import Source

if TYPE_CHECKING:
    import ssl

    import httpx2

_MIB: Final = 1 << 20
MAX_ERROR_BYTES: Final = 1 << 16
JSON_LIMITS: Final = JsonLimits(16 * _MIB, brackets=500_000, commas=2_000_000)
MAX_STREAM_BYTES: Final = 512 * _MIB
RETRY_DELAYS_S: Final = (0.1, 0.4)
"""The pauses between the tries of a connection that fails."""
MAX_RETRY_AFTER_S: Final = 30.0
"""A server that asks to wait longer is reported as busy."""
JSON_TOTAL_S: Final = 60.0
"""Seconds for a whole response that is not streamed; only the answer of a model may take longer."""
PROBE_TOTAL_S: Final = 10.0
_ERROR_STATUS: Final = range(400, 600)
_UNKNOWN_STATUS: Final = 500
_SUCCESS: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
_RETRIED: Final = {429, 503}


class ClientSettings(NamedTuple):
    """The time limits, and how often a request is tried again."""

    limits: TimeLimits = TimeLimits()
    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S
    max_retry_after_s: float = MAX_RETRY_AFTER_S


class ServerClient:
    """A client for one model server. It may be used from several threads.

    `ssl_context` is by default the system's. Raises UsageError if the key would be sent through a proxy
    without encryption.
    """

    def __init__(
        self,
        address: ServerAddress,
        key: Key | None,
        environ: Mapping[str, str],
        settings: ClientSettings | None = None,
        ssl_context: "ssl.SSLContext | None" = None,
    ) -> None:
        limits = TimeLimits(first_byte_s=address.first_byte_s)
        self.address = address
        self._key = key
        self._settings = settings or ClientSettings(limits)
        self._ssl_context = ssl_context
        self._proxy = proxy_for(address, environ)
        self._protects_key = key is not None and address.is_plain and not address.is_insecure
        if self._protects_key and self._proxy is not None:
            raise self._key_error("a proxy")

    @property
    def where(self) -> str:
        """The server's name for messages."""
        return f"the server {self.address.label}"

    @property
    def _route(self) -> str:
        """The server's name, and the proxy through which it is asked, for messages."""
        return f"{self.where} through {self._proxy}" if self._proxy is not None else self.where

    def get(self, url: str, cancel: Cancel, total_s: float = JSON_TOTAL_S) -> Any:
        """Return the parsed JSON of a GET request; see `post`."""
        return self._json("GET", url, None, cancel, total_s)

    def post(self, url: str, body: Mapping[str, Any], cancel: Cancel, total_s: float = JSON_TOTAL_S) -> Any:
        """Return the parsed JSON of a POST request with a JSON body.

        Raises ServerUnavailable, KeyRefused, ServerBusy, ServerError or ContextOverflow, and
        RequestCancelled if `cancel` is set.
        """
        return self._json("POST", url, body, cancel, total_s)

    def probe(self, url: str, cancel: Cancel, *, may_fail: bool = True) -> Any:
        """Return the parsed JSON of a GET request, or None if the server does not have that endpoint.

        Raises ServerUnavailable if no server answers, KeyRefused, ServerBusy, and RequestCancelled; and
        StatusError unless the request `may_fail`.
        """
        try:
            return self._json("GET", url, None, cancel, PROBE_TOTAL_S)
        except (EndpointMissing, ServerError) as error:
            if isinstance(error, StatusError) and not may_fail:
                raise
            return None

    def error_in(self, body: Any) -> HermesError:
        """Return the error that a successful response or an event of a stream contains."""
        error = body.get("error") if isinstance(body, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and code in _ERROR_STATUS else _UNKNOWN_STATUS
        return self._redacted(error_for(status, body, self.where, has_key=self._key is not None))

    def _json(
        self, method: str, url: str, body: Mapping[str, Any] | None, cancel: Cancel, total_s: float
    ) -> Any:
        with self._response(method, url, body, cancel, total_s) as (response, timer):
            data = b"".join(self._body(response, timer, JSON_LIMITS.size))
        body = self._parse(data)
        if isinstance(body, dict) and body.get("error"):  # LM Studio has status 200 for unknown endpoints
            raise self.error_in(body)
        return body

    def stream(
        self, url: str, body: Mapping[str, Any], decoder: EventDecoder, cancel: Cancel
    ) -> Iterator[StreamEvent]:
        """Yield the events of the response to a POST request. Closing the iterator closes the connection.

        Raises the errors of `post`. An answer is never requested a second time after its first byte.
        """
        with self._response("POST", url, body, cancel, float("inf")) as (response, timer):
            for data in self._body(response, timer, MAX_STREAM_BYTES):
                yield from decoder.decode(data)
                if decoder.is_done:
                    return
            yield from decoder.flush()

    @contextmanager
    def _response(
        self, method: str, url: str, body: Mapping[str, Any] | None, cancel: Cancel, total_s: float
    ) -> "Iterator[tuple[httpx2.Response, RequestTimer]]":
        """Yield the successful response to a request, and close its connection afterwards."""
        timer = RequestTimer(replace(self._settings.limits, total_s=total_s), cancel, self._route)
        data = None if body is None else json.dumps(body).encode()
        with ExitStack() as stack:
            with self._errors():
                response = self._open(stack, timer, method, url, data)
            with self._errors(during_answer=True):
                yield response, timer

    def _open(
        self, stack: ExitStack, timer: RequestTimer, method: str, url: str, data: bytes | None
    ) -> "httpx2.Response":
        """Send a request until it succeeds, or a try fails that is not repeated. Return the open response."""
        for delay_s in (*self._settings.retry_delays_s, None):
            client = stack.enter_context(self._client(timer))
            try:
                request = client.build_request(method, url, content=data, headers=self._headers())
                response = client.send(request, stream=True)
                self._require_success(response, timer)
            except _RetryLaterError as busy:
                pause_s, error = busy.seconds, busy.error
            except Exception as failure:
                if delay_s is None or not _is_connection_failure(failure):
                    raise
                pause_s, error = delay_s, None
            else:
                stack.callback(response.close)
                return response
            stack.close()
            if error is not None and delay_s is None:
                raise error
            timer.pausing(pause_s)
        raise AssertionError("the last try returns or raises")

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json, text/event-stream, application/x-ndjson",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "Content-Type": "application/json",
            "User-Agent": f"hermes/{__version__}",
        }
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return headers

    def _client(self, timer: RequestTimer) -> "httpx2.Client":
        """Return a client for one request."""
        import httpx2

        from hermes_cli.engines.remote.network import Transport

        if self._ssl_context is None and not self.address.is_plain:
            self._ssl_context = httpx2.create_ssl_context()
        transport = Transport(timer, self._check_address, self._ssl_context, self._proxy)
        return httpx2.Client(transport=transport, trust_env=False, timeout=None)

    def _check_address(self, address: str) -> None:
        if self._protects_key and not is_private(address):
            raise self._key_error(f"the public address {address}")

    def _key_error(self, target: str) -> UsageError:
        return UsageError(
            f"the key of {self.where} was not sent without encryption to {target}",
            "use https://, or set insecure = true in its [servers.NAME] table",
        )

    def _require_success(self, response: "httpx2.Response", timer: RequestTimer) -> None:
        """Raise the error of a response that is no success."""
        status = response.status_code
        kind = response.headers.get("content-type", "").lower()
        if status in _SUCCESS and "text/html" not in kind:
            return
        if status in _SUCCESS or status in _REDIRECT:
            what = "redirects to another address" if status in _REDIRECT else "returns a web page"
            target = one_line(response.headers.get("location", ""), 100)
            hint = f"use the address {target}" if target else "check the address; it usually ends with /v1"
            raise EndpointMissing(f"{self._route} {what}", self._without_key(hint))
        data = b""
        for part in self._body(response, timer, MAX_ERROR_BYTES, cut=True):
            data += part
        try:
            body: Any = json.loads(data)
        except (ValueError, RecursionError):
            body = data.decode("utf-8", "replace") if "text/html" not in kind else ""
        error = self._redacted(error_for(status, body, self._route, has_key=self._key is not None))
        seconds = _retry_after(response.headers.get("retry-after", ""))
        if status in _RETRIED and seconds is not None:
            if seconds > self._settings.max_retry_after_s:
                raise ServerBusy(error.message, f"try again in {seconds:,.0f} seconds")
            raise _RetryLaterError(seconds, error)
        raise error

    def _redacted(self, error: HermesError) -> HermesError:
        error.message = self._without_key(error.message)
        error.args = (error.message,)
        return error

    def _without_key(self, text: str) -> str:
        """Return text from the server without the key, which some servers repeat."""
        return text.replace(self._key.reveal(), "[key]") if self._key is not None else text

    def _body(
        self, response: "httpx2.Response", timer: RequestTimer, limit: int, *, cut: bool = False
    ) -> Iterator[bytes]:
        """Yield the decompressed body. More than `limit` bytes are an error, or are left out with `cut`."""
        size = 0
        try:
            for data in response.iter_bytes():
                size += len(data)
                if size > limit:
                    if cut:
                        yield data[: limit - size]
                        return
                    raise ServerError(f"{self.where} sent more than {limit // _MIB} MiB")
                yield data
                timer.reading()
        finally:
            # The generators of httpx2 would close it while they are finalized, where an Interrupted is lost.
            response.close()

    def _parse(self, data: bytes) -> Any:
        source = Source(f"the answer of {self.where}", ServerError, hint="check the address")
        return json_parser.parse(data, source, JSON_LIMITS)

    @contextmanager
    def _errors(self, *, during_answer: bool = False) -> Iterator[None]:
        """Convert the errors of httpx2 and httpcore2, which never contain the key."""
        try:
            yield
        except HermesError:
            raise
        except Exception as error:
            if not isinstance(error, _http_errors()):
                raise
            if during_answer and _is_broken_off(error):
                message = f"the connection to {self.where} broke off during the answer"
                raise ServerError(message, "try again, or see the server's log") from error
            reason = one_line(str(error)) or type(error).__name__
            if during_answer:
                message = f"the answer of {self.where} cannot be read: {reason}"
                raise ServerError(message, "try again") from None
            hint = "check the address, and that the server is running"
            raise ServerUnavailable(
                f"the connection to {self._route} failed: {reason}", self._proxy.hint if self._proxy else hint
            ) from None


def _http_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of the HTTP libraries."""
    import httpcore2
    import httpx2

    return (
        *(httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError),
        *(httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError),
    )


def _is_connection_failure(error: Exception) -> bool:
    """Return whether a connection failed, or ended before the first byte of a response."""
    import httpcore2

    return isinstance(error, httpcore2.NetworkError | httpcore2.RemoteProtocolError | httpcore2.ProxyError)


def _is_broken_off(error: Exception) -> bool:
    """Return whether a connection ended in the middle of a response."""
    import httpcore2

    is_closed = isinstance(error, httpcore2.RemoteProtocolError) and "closed connection" in str(error)
    return is_closed or isinstance(error, httpcore2.NetworkError)


class _RetryLaterError(Exception):
    """The server asks to send the request again after some seconds. `error` is raised after the last try."""

    def __init__(self, seconds: float, error: HermesError) -> None:
        super().__init__()
        self.seconds = seconds
        self.error = error


def _retry_after(text: str) -> float | None:
    """Return the seconds in a Retry-After header, which may also be a date, or None."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
