"""Finds out which kind of model server is at an address."""

from collections.abc import Mapping
from typing import Final

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.failures import StatusError
from hermes_cli.engines.remote.servers.api import ServerApi
from hermes_cli.engines.remote.servers.llama_server import LlamaServer
from hermes_cli.engines.remote.servers.lmstudio import LMStudio
from hermes_cli.engines.remote.servers.ollama import Ollama
from hermes_cli.engines.remote.servers.openai import OpenAI
from hermes_cli.engines.remote.servers.vllm import VLLM
from hermes_cli.errors import ServerError, ServerUnavailable

PROBED: Final = ("llama-server", "ollama", "lmstudio", "vllm")
"""The kinds in the order in which a server is asked; each has an endpoint that the others do not have."""

_ENDPOINTS: Final = ("/chat/completions", "/completions", "/models")
"""The paths of OpenAI's API, which follow the URL of a server."""
_WITHOUT_LIST: Final = 'set kind = "openai" and its model in a [servers.NAME] table'


def apis(address: ServerAddress) -> Mapping[str, ServerApi]:
    """Return the API of each kind of server at an address."""
    base, root = address.base_url, address.root_url
    return {
        "llama-server": LlamaServer(base, root),
        "lmstudio": LMStudio(base, root),
        "ollama": Ollama(root),
        "openai": OpenAI(base),
        "vllm": VLLM(base, root),
    }


def detect(client: ServerClient, cancel: Cancel) -> ServerApi:
    """Return the API of the server, whose kind may be in its address.

    Raises ServerUnavailable if no server answers, or if it is not a model server; ServerError if it cannot
    list its models; KeyRefused; and RequestCancelled.
    """
    known = apis(client.address)
    if client.address.kind:
        return known[client.address.kind]
    for kind in PROBED:
        if known[kind].recognizes(client, cancel):
            return known[kind]
    try:
        if known["openai"].recognizes(client, cancel):
            return known["openai"]
    except StatusError as error:
        hint = f"see the server's log, or {_WITHOUT_LIST}"
        raise ServerError(f"{error.message}, when it was asked for its models", hint) from error
    raise ServerUnavailable(
        f"the server at {client.address.base_url} is not a model server that hermes knows",
        _hint(client.address.base_url),
    )


def _hint(url: str) -> str:
    """Return the hint for the URL of a server that is not recognized."""
    for endpoint in _ENDPOINTS:
        if url.endswith(endpoint):
            return f"name the URL without {endpoint}: {url.removesuffix(endpoint)}"
    no_list = f"if the server has OpenAI's API, but no list of models, {_WITHOUT_LIST}"
    return f"check the address, which usually ends with /v1; {no_list}"
