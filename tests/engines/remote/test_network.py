"""Tests of the connections to model servers: encrypted, through proxies, and those that nobody accepts."""

import os
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from hermes_cli.engines.base import Cancel, RequestCancelled
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.key import Key
from hermes_cli.errors import ServerBusy, ServerUnavailable
from tests.engines.remote.clients import CERTIFICATE, FAST, IMPATIENT, address_of, cancelled_after
from tests.engines.remote.fakes.echo import Echo
from tests.engines.remote.fakes.http_server import Fault, Reply

SECRET = "sk-0123456789"  # noqa: S105 - made up


def test_a_cancel_ends_the_wait_for_a_connection() -> None:
    """A full queue of connections neither accepts nor refuses one."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)  # noqa: FBT003 - its parameter has no name
            other.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with cancelled_after(0.2) as cancel, pytest.raises(RequestCancelled):
            ServerClient(address_of(url), None, {}).get(url, cancel)
        with pytest.raises(ServerUnavailable, match=r"does not accept the connection within 0\.5 seconds"):
            ServerClient(address_of(url), None, {}, IMPATIENT).get(url, Cancel())
        for other in others:
            other.close()


def test_a_server_on_this_machine_has_no_proxy() -> None:
    """The proxy of the environment is not asked."""
    with Echo() as fake:
        environ = {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
        client = ServerClient(address_of(fake.url), None, environ, FAST)
        assert client.get(fake.url, Cancel()) == {"path": "/v1"}


def test_another_server_is_asked_through_the_proxy() -> None:
    """The proxy gets the whole URL, and its own password."""
    with Echo() as proxy:
        environ = {"HTTP_PROXY": f"http://me:pass%20word@127.0.0.1:{proxy.port}"}
        client = ServerClient(address_of("http://llm.example.org/v1"), None, environ, FAST)
        client.get("http://llm.example.org/v1/models", Cancel())
    assert proxy.paths() == ["http://llm.example.org/v1/models"]
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "http://me:secret@127.0.0.1:9",
            "through the proxy 127.0.0.1:9 of HTTP_PROXY failed: 127.0.0.1 port 9: connection refused",
        ),
        ("garbage.invalid", "the proxy garbage.invalid:80 of HTTP_PROXY has an unknown host"),
    ],
)
def test_a_proxy_that_cannot_be_reached_is_named_with_its_variable(value: str, message: str) -> None:
    """Its password is not shown. The hint names both ways out."""
    url = "http://llm.example.org/v1"
    with pytest.raises(ServerUnavailable) as caught:
        ServerClient(address_of(url), None, {"HTTP_PROXY": value}, FAST).get(url, Cancel())
    assert caught.value.message.endswith(message)
    assert "secret" not in caught.value.message
    assert caught.value.hint == "check HTTP_PROXY, or list the host of the server in NO_PROXY"


def test_an_error_of_a_proxy_names_it() -> None:
    """It cannot be told from an error of the server."""
    with Echo(fault=Fault(reply=Reply("Service Unavailable", 503))) as proxy:
        url, environ = "http://llm.example.org/v1", {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        with pytest.raises(ServerBusy, match=r"through the proxy 127\.0\.0\.1:\d+ of http_proxy is busy"):
            ServerClient(address_of(url), None, environ, FAST).get(url, Cancel())


def test_an_encrypted_connection_needs_a_valid_certificate() -> None:
    """The fake's certificate is valid for localhost only, and only its own context trusts it."""
    with Echo(certificate=CERTIFICATE) as fake:
        url = f"https://localhost:{fake.port}/v1"
        trusting = ssl.create_default_context(cafile=CERTIFICATE)
        client = ServerClient(address_of(url), Key(SECRET), {}, FAST, trusting)
        assert client.get(url, Cancel()) == {"path": "/v1"}
        message = "the certificate of localhost is not valid: self-signed certificate"
        with pytest.raises(ServerUnavailable, match=message) as caught:
            ServerClient(address_of(url), Key(SECRET), {}, FAST).get(url, Cancel())
        assert len(fake.requests) == 1
    assert (caught.value.exit_code, "SSL_CERT_FILE" in caught.value.hint) == (69, True)


TRUSTED = """
import os, sys
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import parse
from hermes_cli.engines.remote.client import ServerClient
url = sys.argv[1]
print(ServerClient(parse(url, {}, {}), None, os.environ).get(url, Cancel()))
"""


def test_the_certificates_of_the_system_are_trusted() -> None:
    """They can be replaced with SSL_CERT_FILE, as for other programs."""
    with Echo(certificate=CERTIFICATE) as fake:
        command = [sys.executable, "-P", "-c", TRUSTED, f"https://localhost:{fake.port}/v1"]
        environ = {**os.environ, "SSL_CERT_FILE": str(CERTIFICATE)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'path': '/v1'}", done.stderr


def test_an_encrypted_connection_to_a_plain_server_is_one_error() -> None:
    """Such as https:// in the URL of a server on this machine."""
    with Echo() as fake:
        url = f"https://127.0.0.1:{fake.port}/v1"
        with pytest.raises(ServerUnavailable) as caught:
            ServerClient(address_of(url), None, {}, FAST).get(url, Cancel())
    assert caught.value.message == "the server at 127.0.0.1 does not speak HTTPS on this port"
    assert caught.value.hint == "try http:// instead of https://"


def test_an_encrypted_connection_that_is_closed_is_one_error() -> None:
    """The message has no name of a file of OpenSSL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close() -> None:
            connection, _ = server.accept()
            connection.close()

        thread = threading.Thread(target=close)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}/v1"
        with pytest.raises(
            ServerUnavailable, match=r"the encrypted connection to 127\.0\.0\.1 failed"
        ) as caught:
            ServerClient(address_of(url), None, {}, FAST).get(url, Cancel())
        thread.join()
    assert "_ssl" not in caught.value.message


def test_a_cancel_ends_an_unfinished_handshake() -> None:
    """A server that accepts the connection, and then sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/v1"
        with cancelled_after(0.3) as cancel, pytest.raises(RequestCancelled):
            ServerClient(address_of(url), None, {}).get(url, cancel)
        with pytest.raises(ServerUnavailable, match=r"does not accept the connection within 0\.5 seconds"):
            ServerClient(address_of(url), None, {}, IMPATIENT).get(url, Cancel())


def test_an_encrypted_connection_goes_through_the_proxy() -> None:
    """The proxy sees the host, and neither the request nor the key."""
    with Echo(key=SECRET, certificate=CERTIFICATE) as fake, Echo() as proxy:
        proxy.tunnel = fake.port
        trusting = ssl.create_default_context(cafile=CERTIFICATE)
        trusting.check_hostname = False
        url = "https://llm.example.org/v1"
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
        client = ServerClient(address_of(url), Key(SECRET), environ, FAST, trusting)
        assert client.get(url, Cancel()) == {"path": "/v1"}
    assert [(request.method, request.path) for request in proxy.requests] == [
        ("CONNECT", "llm.example.org:443")
    ]
