"""Tests of the argument that names a model server."""

import pytest

from hermes_cli.engines.remote.address import (
    LMSTUDIO_URL,
    OLLAMA_URL,
    ServerAddress,
    is_loopback,
    is_private,
    parse,
    similar_url,
)
from hermes_cli.engines.remote.key import KeySource
from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.server_settings import ServerSettings

WORK = ServerSettings("https://llm.example.org/api/v1", "vllm", "hermes", key_env="WORK_KEY", timeout=60)


@pytest.mark.parametrize(
    ("text", "base_url", "model"),
    [
        ("http://localhost:1234/v1", "http://localhost:1234/v1", ""),
        ("http://localhost:1234", "http://localhost:1234/v1", ""),
        ("http://localhost:1234/", "http://localhost:1234/v1", ""),
        ("http://gpu-box:8000/v1:model-name", "http://gpu-box:8000/v1", "model-name"),
        ("http://gpu-box:8000:model-name", "http://gpu-box:8000/v1", "model-name"),
        ("http://gpu-box/v1:owner/model:4bit", "http://gpu-box/v1", "owner/model:4bit"),
        ("HTTPS://LLM.example.org/v1beta/openai/", "https://llm.example.org/v1beta/openai", ""),
        ("http://[::1]:8080/v1:m", "http://[::1]:8080/v1", "m"),
        ("http://[2001:DB8:0::1]", "http://[2001:db8::1]/v1", ""),
        ("lmstudio", LMSTUDIO_URL, ""),
        ("LMStudio:qwen2-vl-7b", LMSTUDIO_URL, "qwen2-vl-7b"),
        ("ollama:openhermes:latest", OLLAMA_URL, "openhermes:latest"),
        ("work", "https://llm.example.org/api/v1", "hermes"),
        ("work:other", "https://llm.example.org/api/v1", "other"),
    ],
)
def test_an_argument_names_a_url_and_a_model(text: str, base_url: str, model: str) -> None:
    """The path is /v1 by default, and the model follows the colon after it."""
    address = parse(text, {"work": WORK}, {})
    assert address is not None
    assert (address.base_url, address.model) == (base_url, model)


@pytest.mark.parametrize("text", ["openhermes-2", "./lmstudio", "teknium/OpenHermes-2", "a:b", "", "http:/x"])
def test_other_arguments_name_no_server(text: str) -> None:
    """They are names of models, or paths."""
    assert parse(text, {"work": WORK}, {}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://me:secret@host/v1", "the URL contains a user name or a password"),
        ("http://secret@host", "the URL contains a user name or a password"),
        ("ftp://host/v1", "begins with http:// or https://, not 'ftp'"),
        ("file:///etc/passwd", "begins with http:// or https://, not 'file'"),
        ("http://host/v1?key=secret", "has no ? and no #"),
        ("http://host#x", "has no ? and no #"),
        ("http://", "is not valid"),
        ("http://host:8080/v1?key=secret", "has no ? and no #"),
        ("http://host:/v1", "'' is not a port number from 1 to 65535"),
        ("http://host:0/v1", "'0' is not a port number from 1 to 65535"),
        ("http://host:65536/v1", "'65536' is not a port number from 1 to 65535"),
        ("http://host:123456/v1", "'123456' is not a port number from 1 to 65535"),
        ("http://ho st/v1", "is not valid"),
        ("http://höst/v1", "is not valid"),
        ("http://host\\@evil/v1", "contains a user name"),
        ("http://host/v1\r\nX: y", "is not valid"),
        ("http://host:port/v1", "'port' is not a port number from 1 to 65535"),
        ("http://[1.2.3.4]/v1", "[1.2.3.4] is not an IPv6 address"),
        ("http://[fe80::1%25eth0]/v1", "is not valid"),
        ("http://host/v1:", "there is no model after the colon"),
        ("http://host/v1:a\x1bb", "unprintable character"),
        ("ollama:a\u202eb", "unprintable character"),
        ("lmstudio:" + "m" * 300, "the model's name is 300 characters long"),
        ("http://" + "h" * 3000, "the URL is 3,007 characters long"),
    ],
)
def test_an_invalid_url_is_an_error_that_does_not_repeat_a_password(text: str, message: str) -> None:
    """The error is one of usage."""
    with pytest.raises(UsageError) as caught:
        parse(text, {}, {})
    assert message in caught.value.message
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8080", "http://localhost:8080/v1"),
        ("127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("[::1]:8080", "http://[::1]:8080/v1"),
        ("gpu-box:8000/v1:owner/model", "http://gpu-box:8000/v1:owner/model"),
        ("http:/x", "http://x/v1"),
        ("https:x:443", "https://x:443/v1"),
        *((text, "") for text in ("localhost", "ollama:7b", "owner/name:8000", "./x:80", "x:99999", "::")),
        ("me:1@host:80", ""),
    ],
)
def test_an_incomplete_url_resembles_a_complete_one(text: str, url: str) -> None:
    """It has the port, or a part of the scheme."""
    assert similar_url(text) == url


def test_a_configured_server_has_its_settings() -> None:
    """Its name can be that of a known server."""
    assert parse("Work", {"work": WORK}, {}) == ServerAddress(
        "https://llm.example.org/api/v1",
        "Work",
        "vllm",
        "hermes",
        KeySource("key_env", "WORK_KEY"),
        first_byte_s=60,
    )
    address = parse("ollama", {"ollama": ServerSettings("http://box:11434")}, {})
    assert address is not None
    assert address.base_url == "http://box:11434/v1"


@pytest.mark.parametrize(
    ("host", "base_url"),
    [  # the cases of Ollama's own test
        ("", "http://127.0.0.1:11434/v1"),
        ("1.2.3.4", "http://1.2.3.4:11434/v1"),
        (":1234", "http://127.0.0.1:1234/v1"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234/v1"),
        ("example.com", "http://example.com:11434/v1"),
        ("example.com:1234", "http://example.com:1234/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
        ("[::]", "http://[::1]:11434/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::1]:1337", "http://[::1]:1337/v1"),
        (' " 1.2.3.4 " ', "http://1.2.3.4:11434/v1"),
        ("'1.2.3.4'", "http://1.2.3.4:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),  # noqa: S104 - nothing is bound
        ("http://1.2.3.4", "http://1.2.3.4:80/v1"),
        ("http://1.2.3.4:4321/", "http://1.2.3.4:4321/v1"),
        ("https://1.2.3.4", "https://1.2.3.4:443/v1"),
        ("https://example.com/ollama/", "https://example.com:443/ollama/v1"),
    ],
)
def test_the_address_of_ollama_can_be_in_its_environment_variable(host: str, base_url: str) -> None:
    """Where it listens at all addresses, this machine's is used. A server of the config comes before it."""
    environ = {"OLLAMA_HOST": host}
    assert parse("ollama:m", {}, environ) == ServerAddress(base_url, "ollama", "ollama", "m")
    configured = parse("ollama", {"ollama": ServerSettings("http://box:1")}, environ)
    assert configured is not None
    assert configured.base_url == "http://box:1/v1"


@pytest.mark.parametrize("host", ["a b", "box:port", ":0", "ftp://box", "me:secret@box", "[::1"])
def test_an_invalid_variable_of_ollama_is_an_error_that_names_it(host: str) -> None:
    """It does not matter for other models."""
    with pytest.raises(ConfigError) as caught:
        parse("ollama", {}, {"OLLAMA_HOST": host})
    assert caught.value.hint == "check the environment variable OLLAMA_HOST"
    assert "secret" not in caught.value.message
    assert parse("lmstudio", {}, {"OLLAMA_HOST": host}) is not None


def test_the_url_of_a_configured_server_is_checked() -> None:
    """The error is one of the config."""
    with pytest.raises(ConfigError, match="begins with http"):
        parse("x", {"x": ServerSettings("gopher://x")}, {})
    with pytest.raises(ConfigError, match="contains a model"):
        parse("x", {"x": ServerSettings("http://x/v1:m")}, {})
    with pytest.raises(ConfigError, match=r"; did you mean http://localhost:8000/v1\?$"):
        parse("x", {"x": ServerSettings("localhost:8000/v1")}, {})


def test_the_root_url_is_that_of_the_endpoints_outside_of_openais_api() -> None:
    """It ends before /v1."""
    address = parse("http://[::1]:8080/api/v1", {}, {})
    assert address is not None
    assert (address.root_url, address.host, address.is_plain) == ("http://[::1]:8080/api", "::1", True)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("192.168.0.9", True),
        ("100.100.1.1", True),
        ("8.8.8.8", False),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("2001:4860:4860::8888", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_private_addresses_are_those_of_local_networks(address: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """An IPv4 address in IPv6 form counts as the IPv4 address."""
    assert is_private(address) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.evil.com", False),
        ("gpu-box", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_hosts_are_known_by_name(host: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """No name server is asked."""
    assert is_loopback(host) is expected
