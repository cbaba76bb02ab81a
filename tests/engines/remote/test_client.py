"""Tests of the HTTP client against a server on a loopback socket, which behaves well and badly."""

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.engines.base import Cancel, RequestCancelled
from hermes_cli.engines.remote.client import ClientSettings, ServerClient
from hermes_cli.engines.remote.event_stream import JsonLines, ServerSentEvents, StreamLimits
from hermes_cli.engines.remote.key import Key
from hermes_cli.errors import (
    ContextOverflow,
    HermesError,
    KeyRefused,
    ServerBusy,
    ServerError,
    ServerUnavailable,
    UsageError,
)
from tests.engines.remote.clients import FAST, IMPATIENT, address_of, cancelled_after, client_of
from tests.engines.remote.fakes.echo import Echo
from tests.engines.remote.fakes.http_server import EVENTS, FakeServer, Fault, Reply, gzip_bomb

SECRET = "sk-0123456789"  # noqa: S105 - made up
CERTIFICATE = Path(__file__).parent / "fakes" / "localhost.pem"


def get(fake: FakeServer, settings: ClientSettings = FAST) -> Any:
    """Return the response to a GET request."""
    return client_of(fake, settings).get(f"{fake.url}/models", Cancel())


def stream(fake: FakeServer, settings: ClientSettings = FAST, cancel: Cancel | None = None) -> Iterator[str]:
    """Yield the data of the events of a POST request."""
    client = client_of(fake, settings)
    events = client.stream(f"{fake.url}/x", {}, ServerSentEvents(), cancel or Cancel())
    return (event.data for event in events)


def test_a_json_response_is_parsed() -> None:
    """The request asks for an uncompressed body, and has no key."""
    with Echo() as fake:
        assert get(fake) == {"path": "/v1/models"}
    headers = fake.requests[0].headers
    assert (headers["accept-encoding"], "authorization" in headers) == ("identity", False)
    assert headers["user-agent"].startswith("hermes/")


def test_a_stream_yields_its_events() -> None:
    """The end marker is no event."""
    with Echo() as fake:
        assert list(stream(fake)) == ['{"n": 0}', '{"n": 1}', '{"n": 2}']


def test_closing_a_stream_closes_its_connection() -> None:
    """The server notices, and stops generating."""
    with Echo(fault=Fault(silent_after=1)) as fake:
        events = stream(fake)
        assert next(events) == '{"n": 0}'
        events.close()  # type: ignore[attr-defined]
        del events
        end = time.monotonic() + 2
        while not fake.closed_early and time.monotonic() < end:
            time.sleep(0.01)
        assert fake.closed_early == 1


def test_the_key_is_only_in_its_header(caplog: pytest.LogCaptureFixture) -> None:
    """It is in no log of the HTTP libraries, and in no error, even if the server repeats it."""
    caplog.set_level(logging.DEBUG)
    with Echo(key=SECRET) as fake:
        client = ServerClient(address_of(fake.url), Key(SECRET), {}, FAST)
        client.get(f"{fake.url}/models", Cancel())
        assert fake.requests[0].key == SECRET
        fake.fault = Fault(reply=Reply({"error": f"no access with {SECRET}"}, 401))
        with pytest.raises(KeyRefused) as caught:
            client.get(f"{fake.url}/models", Cancel())
    assert "no access with [key]" in caught.value.message
    assert SECRET not in f"{caught.value!r} {caught.value.hint} {caplog.text} {client!r} {vars(client)}"


@pytest.mark.parametrize(
    ("status", "error_type", "exit_code"),
    [
        (401, KeyRefused, 77),
        (403, KeyRefused, 77),
        (404, ServerUnavailable, 69),
        (429, ServerBusy, 75),
        (500, ServerError, 1),
        (503, ServerBusy, 75),
        (418, ServerError, 1),
    ],
)
def test_a_status_becomes_an_error_with_the_servers_message(
    status: int, error_type: type[HermesError], exit_code: int
) -> None:
    """Without Retry-After, there is one try."""
    with Echo(fault=Fault(status=status)) as fake:
        for request in (get, lambda fake: list(stream(fake))):
            with pytest.raises(error_type, match=f"fake error {status}") as caught:
                request(fake)
            assert caught.value.exit_code == exit_code
            assert caught.value.hint
    assert len(fake.requests) == 2


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        (
            {
                "error": {
                    "code": 400,
                    "message": "request (2622 tokens) exceeds the available context size (512 tokens)",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 2622,
                    "n_ctx": 512,
                }
            },
            (2622, 512),
        ),
        (
            {
                "error": '{"error":{"code":400,"message":"request (9 tokens) exceeds the available context '
                'size (8 tokens), try increasing it","type":"exceed_context_size_error"}}'
            },
            (9, 8),
        ),
        ({"error": "the input length exceeds the context length"}, (0, 0)),
        (
            {
                "error": {
                    "message": "This model's maximum context length is 4096 tokens. However, you requested "
                    "5000 tokens",
                    "code": "context_length_exceeded",
                }
            },
            (5000, 4096),
        ),
        (
            {
                "error": {
                    "message": "This model's maximum context length is 4096 tokens. However, you requested "
                    "4500 tokens (1500 in the messages, 3000 in the completion).",
                    "code": "context_length_exceeded",
                }
            },
            (1500, 4096),
        ),
    ],
)
def test_a_prompt_that_is_too_long_for_the_server_is_an_overflow(
    body: dict[str, Any], numbers: tuple[int, int]
) -> None:
    """The bodies are those of llama-server, Ollama 0.40 and 0.12.6, and OpenAI."""
    with Echo(fault=Fault(reply=Reply(body, 400))) as fake, pytest.raises(ContextOverflow) as caught:
        get(fake)
    assert (caught.value.prompt_tokens, caught.value.context_size) == numbers


def test_a_message_of_the_server_is_cut_and_printable() -> None:
    """Escape sequences and line breaks are removed."""
    fault = Fault(reply=Reply({"error": {"message": "a\x1b[31m\nb\u202e" + "c" * 1000}}, 500))
    with Echo(fault=fault) as fake, pytest.raises(ServerError) as caught:
        get(fake)
    assert "a [31m b" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def test_a_busy_server_is_asked_again_after_its_delay() -> None:
    """After the last try, its error is raised; a long delay is in the hint."""
    busy = Reply({"error": "busy"}, 503, headers={"Retry-After": "0"})
    with Echo(fault=Fault(reply=busy, times=2)) as fake:
        assert get(fake) == {"path": "/v1/models"}
        assert len(fake.requests) == 3
        fake.fault = Fault(reply=busy)
        with pytest.raises(ServerBusy):
            get(fake)
        assert len(fake.requests) == 6
        busy.headers["Retry-After"] = "3600"
        with pytest.raises(ServerBusy) as caught:
            get(fake)
        assert len(fake.requests) == 7
        assert caught.value.hint == "try again in 3,600 seconds"


def test_a_connection_that_ends_before_the_first_byte_is_tried_again() -> None:
    """One that ends during the answer is not."""
    with Echo(fault=Fault(raw=b"", times=2)) as fake:
        assert len(list(stream(fake))) == 3
        assert len(fake.requests) == 3
        fake.fault = Fault(cut_after=2)
        events = stream(fake)
        assert [next(events), next(events)] == ['{"n": 0}', '{"n": 1}']
        with pytest.raises(
            ServerError, match=r"^the connection to the server .* broke off during the answer$"
        ):
            next(events)
        assert len(fake.requests) == 4


def test_a_connection_that_is_reset_during_the_answer_has_broken_off() -> None:
    """The message has none of the words of the HTTP library, and the hint is to try again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
            time.sleep(0.2)  # for the client to read it, before the reset discards it
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with pytest.raises(ServerError) as caught:
            ServerClient(address_of(url), None, {}, FAST).get(url, Cancel())
        thread.join()
    server_name = url.removesuffix("/v1")
    assert caught.value.message == f"the connection to the server {server_name} broke off during the answer"
    assert caught.value.hint == "try again, or see the server's log"


def test_no_server_is_unavailable() -> None:
    """A port without a server, and a host without an address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(ServerUnavailable, match="connection refused") as caught:
        ServerClient(address_of(url), None, {}, FAST).get(url, Cancel())
    assert caught.value.exit_code == 69
    url = "http://nowhere.invalid/v1"
    with pytest.raises(ServerUnavailable, match=r"nowhere\.invalid"):
        ServerClient(address_of(url), None, {}, FAST).get(url, Cancel())


def test_a_server_that_says_nothing_is_given_up() -> None:
    """Before the first byte, and between two."""
    with Echo(fault=Fault(before_s=30)) as fake:
        with pytest.raises(ServerBusy, match=r"no answer for 0\.5 seconds"):
            list(stream(fake, IMPATIENT))
        fake.fault = Fault(silent_after=1)
        with pytest.raises(ServerError, match=r"in the middle of an answer for 0\.3 seconds"):
            list(stream(fake, IMPATIENT))
        fake.fault = Fault(silent_after=0)
        with pytest.raises(ServerBusy, match=r"no answer for 0\.5 seconds"):
            list(stream(fake, IMPATIENT))


def test_a_slow_stream_is_not_given_up() -> None:
    """Each pause is shorter than the limit; the reader may take its time, too."""
    with Echo() as fake:
        expected = list(stream(fake, IMPATIENT))
        fake.fault = Fault(between_s=0.2)
        received = []
        for event in stream(fake, IMPATIENT):
            received.append(event)
            time.sleep(0.4)
    assert received == expected != []


@pytest.mark.parametrize("fault", [Fault(before_s=30), Fault(silent_after=0), Fault(silent_after=2)])
def test_a_cancel_closes_the_connection_at_once(fault: Fault) -> None:
    """While it waits for the response, for the first byte, and for the next one."""
    patient = ClientSettings()
    with Echo(fault=fault) as fake:
        with cancelled_after(0.3) as cancel, pytest.raises(RequestCancelled):
            list(stream(fake, patient, cancel))
        end = time.monotonic() + 2
        while not fake.closed_early and time.monotonic() < end:
            time.sleep(0.01)
        assert fake.closed_early == 1


def test_a_cancel_ends_the_pause_before_another_try() -> None:
    """The server asked for ten seconds."""
    busy = Reply({}, 429, headers={"Retry-After": "10"})
    with (
        Echo(fault=Fault(reply=busy)) as fake,
        cancelled_after(0.2) as cancel,
        pytest.raises(RequestCancelled),
    ):
        list(stream(fake, ClientSettings(), cancel))


@pytest.mark.parametrize(
    ("fault", "error_type", "message"),
    [
        (Fault(raw=b"\x00\xff garbage\r\n\r\n"), ServerUnavailable, "connection to the server"),
        (
            Fault(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
            ServerError,
            "broke off during the answer",
        ),
        (
            Fault(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            ServerError,
            "cannot be read",
        ),
        (Fault(reply=Reply(b"<html>", kind="text/html")), ServerUnavailable, "returns a web page"),
        (Fault(reply=Reply(b"", 302, headers={"Location": "http://evil/"})), ServerUnavailable, "redirects"),
        (Fault(reply=Reply(b"[" * 600_000)), ServerError, "too many values"),
        (Fault(reply=Reply(b"{" * 200)), ServerError, "is not JSON"),
        (Fault(reply=Reply(b"[" * 200 + b"]" * 200)), ServerError, "nested too deeply"),
        (Fault(reply=Reply(b'{"a": 1')), ServerError, "is not JSON"),
        (Fault(reply=Reply(b'"\xff"')), ServerError, "is not UTF-8"),
        (Fault(reply=gzip_bomb()), ServerError, "sent more than 16 MiB"),
        (
            Fault(reply=Reply(b"not gzip", headers={"Content-Encoding": "gzip"})),
            ServerError,
            "cannot be read",
        ),
    ],
)
def test_a_response_that_is_unusable_is_one_error(
    fault: Fault, error_type: type[HermesError], message: str
) -> None:
    """The error is a sentence; nothing follows a redirect."""
    with Echo(fault=fault) as fake, pytest.raises(error_type, match=message) as caught:
        get(fake)
    assert "\n" not in caught.value.message
    assert {request.path for request in fake.requests} == {"/v1/models"}


def test_the_address_of_a_redirect_is_in_the_hint() -> None:
    """The user can use it."""
    reply = Reply(b"", 301, headers={"Location": "https://llm.example.org/v1"})
    with Echo(fault=Fault(reply=reply)) as fake, pytest.raises(ServerUnavailable) as caught:
        get(fake)
    assert caught.value.hint == "use the address https://llm.example.org/v1"


def test_an_endless_line_ends_at_its_limit() -> None:
    """The connection is closed."""
    limits = StreamLimits(line=1 << 16)
    endless = Reply(kind=EVENTS, pieces=[b"x" * 4096] * 1000)
    with Echo(fault=Fault(reply=endless)) as fake:
        for decoder in (ServerSentEvents(limits), JsonLines(limits)):
            with pytest.raises(ServerError, match="a line of more than 65,536 bytes"):
                list(client_of(fake).stream(fake.url, {}, decoder, Cancel()))


def test_the_key_is_not_sent_without_encryption_to_a_public_address() -> None:
    """The address is checked after the name server was asked, and before the connection is made."""
    url = "http://8.8.8.8/v1"
    with pytest.raises(UsageError, match=r"not sent without encryption to the public address 8\.8\.8\.8"):
        ServerClient(address_of(url), Key(SECRET), {}, FAST).get(url, Cancel())
    with Echo(key=SECRET) as fake:
        local = fake.url.replace("127.0.0.1", "localhost")
        assert ServerClient(address_of(local), Key(SECRET), {}, FAST).get(local, Cancel())
    with pytest.raises(UsageError, match="a proxy"):
        ServerClient(address_of(url), Key(SECRET), {"http_proxy": "http://proxy:3128"})
