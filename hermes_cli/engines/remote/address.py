"""Parses a model server's name, as in -m: a URL, `lmstudio`, `ollama`, or a name in the config."""

import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hermes_cli.engines.remote.key import KeySource
from hermes_cli.errors import ConfigError, HermesError, UsageError
from hermes_cli.server_settings import ServerSettings

EXAMPLE: Final = "such as http://localhost:1234/v1 or http://gpu-box:8000/v1:model-name"
LMSTUDIO_URL: Final = "http://127.0.0.1:1234/v1"
OLLAMA_URL: Final = "http://127.0.0.1:11434/v1"
OLLAMA_HOST: Final = "OLLAMA_HOST"
"""Ollama's environment variable with the address of its server."""
LOCAL_SERVERS: Final = {"lmstudio": "LM Studio", "ollama": "Ollama"}
"""The arguments that name a server without configuration, with the names of those servers."""
LOCAL_PORTS: Final = {"LM Studio": 1234, "Ollama": 11434, "llama-server": 8080, "vLLM": 8000}
"""The default ports of the servers, from their documentation."""
MAX_URL: Final = 2048
MAX_MODEL: Final = 256
_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~/-]*)?"
    r"(?::(?P<model>.*))?",
    re.DOTALL | re.IGNORECASE,
)
_INCOMPLETE: Final = re.compile(
    r"(?P<scheme>https?:/{0,2})?(?P<rest>(?:\[[^\]/]*\]|[^\[:/]+)(?P<port>:[0-9]+)?(?:[:/].*)?)",
    re.DOTALL | re.IGNORECASE,
)
"""A URL without its scheme, or with a part of it."""
_OLLAMA_PORTS: Final = {"": 11434, "http": 80, "https": 443}
_ANY_ADDRESS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - not bound
"""Addresses at which a server listens, with those at which this machine reaches it."""
_MAX_PORT: Final = 65535
_DEFAULT_PATH: Final = "/v1"


class ServerAddress(NamedTuple):
    """The address of a model server.

    `base_url` is the URL of its OpenAI API, such as http://localhost:1234/v1. `kind` is one of
    `server_settings.KINDS`, or "" if it is unknown. `model` is "" if none was named. `label` is what the user
    typed, without the model. `tokenizer` names a model on this machine with the same tokenizer, or is "".
    """

    base_url: str
    label: str
    kind: str = ""
    model: str = ""
    key: KeySource | None = None
    is_insecure: bool = False
    first_byte_s: float = 600.0
    context_size: int | None = None
    tokenizer: str = ""

    @property
    def argument(self) -> str:
        """The argument of -m that names the server, without a model."""
        return self.base_url if "://" in self.label else self.label

    @property
    def root_url(self) -> str:
        """The URL of the endpoints that are not part of OpenAI's API, such as /props."""
        return self.base_url.removesuffix(_DEFAULT_PATH)

    @property
    def host(self) -> str:
        """The name or address of the host, in lower case and without the brackets of IPv6."""
        return _host(self.base_url)

    @property
    def port(self) -> int:
        """The port, by default that of HTTP or HTTPS."""
        return urlsplit(self.base_url).port or (80 if self.is_plain else 443)

    @property
    def is_plain(self) -> bool:
        """Whether the connection is not encrypted."""
        return self.base_url.startswith("http://")


def parse(
    text: str, servers: Mapping[str, ServerSettings], environ: Mapping[str, str]
) -> ServerAddress | None:
    """Return the server that an argument names, or None if it names none.

    `servers` are those of the config file; they come before `lmstudio` and `ollama`. Raises UsageError if a
    URL or a model's name is invalid, and ConfigError for the URL of a server in the config or in OLLAMA_HOST.
    """
    if "://" in text:
        return _parse_url(text, UsageError)
    name, _, model = text.partition(":")
    settings = {**local_servers(environ), **servers}.get(name.lower())
    if settings is None:
        return None
    try:
        address = from_settings(name, settings)
    except ConfigError as error:
        if name.lower() in servers:
            raise
        raise ConfigError(error.message, f"check the environment variable {OLLAMA_HOST}") from None
    return address._replace(model=_check_model(model, UsageError)) if model else address


def local_servers(environ: Mapping[str, str]) -> dict[str, ServerSettings]:
    """Return the settings of LOCAL_SERVERS."""
    ollama_url = _ollama_url(environ[OLLAMA_HOST]) if environ.get(OLLAMA_HOST) else OLLAMA_URL
    return {
        "lmstudio": ServerSettings(LMSTUDIO_URL, kind="lmstudio"),
        "ollama": ServerSettings(ollama_url, kind="ollama"),
    }


def _ollama_url(host: str) -> str:
    """Return the URL of the OpenAI API for a value of OLLAMA_HOST, such as `0.0.0.0` or `https://box:8080`.

    Source: envconfig.Host in the source code of Ollama. The default port is 11434, or the scheme's if a
    scheme is given.
    """
    before, has_scheme, after = host.strip(" \"'").partition("://")
    scheme, rest = (before.lower(), after) if has_scheme else ("", before)
    authority, _, path = rest.partition("/")
    if authority.count(":") > 1 and not authority.startswith("["):
        authority = f"[{authority}]"
    name, has_port, port = authority.rpartition(":")
    if not has_port or port.endswith("]"):
        name, port = authority, str(_OLLAMA_PORTS.get(scheme, ""))
    base = f"{scheme or 'http'}://{_ANY_ADDRESS.get(name, name)}:{port}/{path}"
    return base.rstrip("/") + _DEFAULT_PATH


def from_settings(name: str, settings: ServerSettings) -> ServerAddress:
    """Return the address of a server in the config. Raises ConfigError if its URL is invalid."""
    url = _parse_url(settings.url, ConfigError)
    if url.model:
        raise ConfigError("the URL contains a model", f"put it into model = … of [servers.{name}]")
    return ServerAddress(
        url.base_url,
        name,
        settings.kind,
        _check_model(settings.model, ConfigError),
        KeySource.of(settings),
        settings.insecure,
        float(settings.timeout),
        settings.context,
        settings.tokenizer,
    )


def similar_url(text: str) -> str:
    """Return the URL that an incomplete one such as `localhost:8080` or `http:/box` means, or "" if none."""
    found = _INCOMPLETE.fullmatch(text)
    if found is None or not (found["scheme"] or len(found["port"] or "") > len(":99")):
        return ""  # the name of a model may end with a short number, such as openhermes:7
    scheme = (found["scheme"] or "http").rstrip(":/")
    try:
        address = _parse_url(f"{scheme}://{found['rest']}", UsageError)
    except UsageError:
        return ""
    return f"{address.base_url}:{address.model}" if address.model else address.base_url


def _parse_url(text: str, error_type: type[HermesError]) -> ServerAddress:
    if len(text) > MAX_URL:
        raise error_type(f"the URL is {len(text):,} characters long", EXAMPLE)
    scheme, _, rest = text.partition("://")
    authority = rest.partition("/")[0]
    if "@" in authority:  # do not repeat the text, which may contain a password
        hint = "put the key into an environment variable, and name it in key_env of a [servers.NAME] table"
        raise error_type("the URL contains a user name or a password", hint)
    if scheme.lower() not in ("http", "https"):
        url = "" if "://" in text else similar_url(text)
        meant = f"; did you mean {url}?" if url else ""
        raise error_type(
            f"a URL of a server begins with http:// or https://, not {scheme[:20]!r}{meant}", EXAMPLE
        )
    found = _URL.fullmatch(text)
    has_model = found is not None and bool(found["port"] or found["path"])  # otherwise, a port must follow :
    if not has_model and re.search("[?#]", rest):
        raise error_type("the URL of a server has no ? and no #", EXAMPLE)
    if found is None:
        raise error_type("the URL of a server is not valid", EXAMPLE)
    port_text = (found["port"] if has_model else found["model"]) or ""
    port = int(found["port"]) if found["port"] else None
    if port_text and (port is None or not 0 < port <= _MAX_PORT):
        shown = port_text.partition("/")[0][:20]
        raise error_type(f"{shown!r} is not a port number from 1 to {_MAX_PORT}", EXAMPLE)
    host = found["host"].lower()
    if host.startswith("["):
        host = f"[{_ipv6(host[1:-1], error_type)}]"
    path = (found["path"] or "").rstrip("/") or _DEFAULT_PATH
    label = f"{scheme.lower()}://{host}{f':{port}' if port else ''}"
    model = _check_model(found["model"], error_type) if found["model"] is not None else ""
    if found["model"] is not None and not model:
        raise error_type("there is no model after the colon", EXAMPLE)
    return ServerAddress(label + path, label, model=model)


def _ipv6(text: str, error_type: type[HermesError]) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise error_type(f"[{text}] is not an IPv6 address", EXAMPLE) from None


def _check_model(name: str, error_type: type[HermesError]) -> str:
    if len(name) > MAX_MODEL:
        raise error_type(f"the model's name is {len(name):,} characters long")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in name):
        raise error_type("the model's name contains an unprintable character")
    return name.strip()


def _host(url: str) -> str:
    authority = url.partition("://")[2].partition("/")[0]
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


_PRIVATE: Final = [
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "::1/128",
        "0.0.0.0/32",  # connects to this machine
        "::/128",
        "10.0.0.0/8",  # RFC 1918, as the next two
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",  # RFC 3927
        "100.64.0.0/10",  # RFC 6598, which overlay networks use
        "fc00::/7",  # RFC 4193
        "fe80::/10",  # RFC 4291
    )
]


def is_private(address: str) -> bool:
    """Return whether an IP address belongs to this machine or to a local network."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in _PRIVATE)


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address is that of this machine, without asking a name server."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback or ip.is_unspecified
