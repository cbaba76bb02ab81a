"""Tests of how the kind of a server is found."""

import pytest

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers.detection import detect
from hermes_cli.errors import KeyRefused, ServerError, ServerUnavailable
from tests.engines.remote.clients import FAKES, FAST, address_of, client_of
from tests.engines.remote.fakes.http_server import Fault, Reply


@pytest.mark.parametrize("kind", FAKES)
def test_each_kind_of_server_is_recognized(kind: str) -> None:
    """By endpoints that the others do not have."""
    with FAKES[kind]() as fake:
        assert detect(client_of(fake), Cancel()).kind == kind


def test_a_kind_in_the_config_is_not_probed() -> None:
    """The server is not asked."""
    with FAKES["vllm"]() as fake:
        client = ServerClient(ServerAddress(fake.url, "work", "openai"), None, {}, FAST)
        assert detect(client, Cancel()).kind == "openai"
    assert fake.requests == []


@pytest.mark.parametrize(
    "reply",
    [Reply(b"<html>", kind="text/html"), Reply({}), Reply([]), Reply(b"hi", kind="text/plain"), Reply(0)],
)
def test_another_web_server_is_no_model_server(reply: Reply) -> None:
    """The hint is to check the address, or to use the server without its list of models."""
    with FAKES["openai"](fault=Fault(reply=reply)) as fake, pytest.raises(ServerUnavailable) as caught:
        detect(client_of(fake), Cancel())
    assert caught.value.message == f"the server at {fake.url} is not a model server that hermes knows"
    assert caught.value.hint.startswith("check the address, which usually ends with /v1; if the server has")
    assert 'set kind = "openai" and its model in a [servers.NAME] table' in caught.value.hint


@pytest.mark.parametrize("endpoint", ["/chat/completions", "/completions", "/models"])
def test_the_url_of_an_endpoint_is_reported_with_that_of_the_server(endpoint: str) -> None:
    """The message has the path that the user typed."""
    with FAKES["openai"]() as fake, pytest.raises(ServerUnavailable) as caught:
        detect(ServerClient(address_of(fake.url + endpoint), None, {}, FAST), Cancel())
    assert f"{fake.url}{endpoint} is not a model server" in caught.value.message
    assert caught.value.hint == f"name the URL without {endpoint}: {fake.url}"


def test_a_server_that_cannot_list_its_models_is_an_error() -> None:
    """The error is the server's, and the hint says how to use the server without its list."""
    with FAKES["openai"](fault=Fault(status=500)) as fake, pytest.raises(ServerError) as caught:
        detect(client_of(fake), Cancel())
    assert caught.value.message.endswith("failed: fake error 500, when it was asked for its models")
    assert caught.value.hint.endswith('set kind = "openai" and its model in a [servers.NAME] table')


def test_a_server_that_requires_a_key_is_an_error() -> None:
    """It is not taken for another kind."""
    with FAKES["openai"](key="sk") as fake, pytest.raises(KeyRefused, match="requires a key"):
        detect(client_of(fake), Cancel())


def test_no_server_is_an_error() -> None:
    """Its exit code is 69."""
    client = ServerClient(ServerAddress("http://127.0.0.1:9/v1", "x"), None, {}, FAST)
    with pytest.raises(ServerUnavailable, match="failed"):
        detect(client, Cancel())
