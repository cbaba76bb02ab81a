"""The HTTP proxies of the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from hermes_cli.engines.remote.address import ServerAddress, is_loopback
from hermes_cli.errors import ConfigError

DEFAULT_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `authorization` is the value of its Proxy-Authorization header, or "".

    `variable` is the environment variable that names it.
    """

    host: str
    port: int
    authorization: str = ""
    variable: str = field(default="", compare=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy {host}:{self.port} of {self.variable}"

    @property
    def hint(self) -> str:
        """The advice if the proxy cannot be reached."""
        return f"check {self.variable}, or list the host of the server in NO_PROXY"

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_for(address: ServerAddress, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a server, or None. A server on this machine has none.

    Raises ConfigError if the variable is not the URL of an HTTP proxy.
    """
    scheme = "http" if address.is_plain else "https"
    names = (f"{scheme}_proxy", f"{scheme}_PROXY".upper(), "all_proxy", "ALL_PROXY")
    variable = next((name for name in names if environ.get(name)), None)
    if variable is None or is_loopback(address.host) or _is_excluded(address.host, environ):
        return None
    hint = f"it is written like http://proxy.example.org:3128; change or unset {variable}"
    text = environ[variable]
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port or DEFAULT_PORT
    except ValueError:
        raise ConfigError(f"{variable} is not the URL of a proxy", hint) from None
    if url.scheme != "http" or not host:
        raise ConfigError(f"{variable} is not the URL of an HTTP proxy", hint)
    authorization = ""
    if url.username:
        user = f"{unquote(url.username)}:{unquote(url.password or '')}"
        authorization = "Basic " + base64.b64encode(user.encode()).decode()
    return Proxy(host, port, authorization, variable)


def _is_excluded(host: str, environ: Mapping[str, str]) -> bool:
    """Return whether NO_PROXY lists a host, or a domain of it. `*` lists all."""
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    for entry in listed.lower().split(","):
        name = entry.strip().lstrip(".")
        if name == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
    return False
