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
        hint = "see the server's log, or set its kind and its model in a [servers.NAME] table"
        raise ServerError(f"{error.message}, when it was asked for its models", hint) from error
    raise ServerUnavailable(
        f"{client.where} is not a model server that hermes knows",
        "check the address; it usually ends with /v1",
    )
