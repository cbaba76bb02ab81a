"""Tests of the proxies of the environment."""

import pytest

from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.proxy import Proxy, proxy_for
from hermes_cli.errors import ConfigError

PROXY = "http://proxy.example.org:3128"
FOUND = Proxy("proxy.example.org", 3128)


def found(url: str, **environ: str) -> Proxy | None:
    """Return the proxy for a URL."""
    return proxy_for(ServerAddress(url, url), environ)


def test_the_scheme_of_the_url_selects_the_variable() -> None:
    """The variable in lower case comes first, and ALL_PROXY last."""
    assert found("https://llm.org/v1", HTTPS_PROXY=PROXY) == FOUND
    assert found("https://llm.org/v1", https_proxy=PROXY, HTTPS_PROXY="http://other") == FOUND
    assert found("https://llm.org/v1", HTTP_PROXY=PROXY) is None
    assert found("http://llm.org/v1", HTTP_PROXY=PROXY) == FOUND
    assert found("http://llm.org/v1", ALL_PROXY=PROXY) == FOUND
    assert found("https://llm.org/v1", HTTPS_PROXY="proxy.example.org:3128") == FOUND
    assert found("https://llm.org/v1") is None


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"])
def test_this_machine_has_no_proxy(url: str) -> None:
    """Whatever the environment says."""
    assert found(url, HTTP_PROXY=PROXY, ALL_PROXY=PROXY) is None


@pytest.mark.parametrize(
    ("no_proxy", "excluded"),
    [
        ("llm.org", True),
        ("a.org, .llm.org", True),
        ("org", True),
        ("*", True),
        ("m.org", False),
        ("", False),
        (",", False),
    ],
)
def test_no_proxy_lists_hosts_and_domains(no_proxy: str, excluded: bool) -> None:  # noqa: FBT001 - a table
    """A name in it is a host, or a domain of the host."""
    proxy = found("https://gpu.llm.org/v1", HTTPS_PROXY=PROXY, NO_PROXY=no_proxy)
    assert (proxy is None) is excluded


@pytest.mark.parametrize("text", ["socks5://proxy:1080", "http://proxy:port", "https://proxy", "http://"])
def test_an_unsupported_proxy_is_an_error(text: str) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigError, match="HTTPS_PROXY is not the URL"):
        found("https://llm.org/v1", HTTPS_PROXY=text)


def test_the_password_of_a_proxy_is_not_in_its_representation() -> None:
    """Only in the header."""
    proxy = found("https://llm.org/v1", HTTPS_PROXY="http://me:secret@proxy:3128")
    assert proxy is not None
    assert (repr(proxy), proxy.authorization) == ("Proxy(proxy:3128)", "Basic bWU6c2VjcmV0")
