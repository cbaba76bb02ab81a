"""Asks several servers at once for their models, within a time limit."""

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from hermes_cli.engines.base import Cancel, RequestCancelled
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.client import ClientSettings, ServerClient
from hermes_cli.engines.remote.connection import connect
from hermes_cli.engines.remote.servers.api import RemoteModel, ServerApi
from hermes_cli.engines.remote.servers.chat_completions import pick_model
from hermes_cli.engines.remote.timer import TimeLimits
from hermes_cli.errors import HermesError, ServerUnavailable, as_hermes_error

LIMIT_S: Final = 2.0
"""Seconds within which all servers must answer."""
MAX_THREADS: Final = 16


class ServerState(NamedTuple):
    """What a server reports about itself. `name` is what the user types for it.

    `kind` is one of `server_settings.KINDS`, and `title` how it is written, with its version. `error` is set
    if the server cannot be used, and `model_error` if it does not have the model of its settings. `tokenizer`
    is the one on this machine that its settings name.
    """

    name: str
    url: str
    kind: str = ""
    title: str = ""
    models: tuple[RemoteModel, ...] = ()
    error: HermesError | None = None
    model_error: HermesError | None = None
    tokenizer: str = ""


def ask_servers(
    addresses: Sequence[ServerAddress], environ: Mapping[str, str], limit_s: float = LIMIT_S
) -> list[ServerState]:
    """Return the state of each server, in the same order, after `limit_s` seconds at most.

    Nothing is generated, and no model is loaded.
    """
    cancel, end = Cancel(), time.monotonic() + limit_s
    settings = ClientSettings(TimeLimits(limit_s, limit_s, limit_s), retry_delays_s=())
    pending: queue.SimpleQueue[ServerAddress] = queue.SimpleQueue()
    states: dict[ServerAddress, ServerState] = {}
    unique = dict.fromkeys(addresses)
    for address in unique:
        pending.put(address)

    def ask() -> None:
        while not cancel.is_set():
            try:
                address = pending.get_nowait()
            except queue.Empty:
                return
            states[address] = _state(address, environ, cancel, settings)

    # A thread may be in a name lookup, which cannot be interrupted; a daemon does not delay the exit.
    threads = [threading.Thread(target=ask, daemon=True) for _ in range(min(len(unique), MAX_THREADS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    cancel.set()
    return [states.get(address) or _failed(address, _slow(address, limit_s)) for address in addresses]


def _state(
    address: ServerAddress, environ: Mapping[str, str], cancel: Cancel, settings: ClientSettings
) -> ServerState:
    kind = ""
    try:
        client, api = connect(address, environ, cancel, settings)
        kind = api.kind
        models = api.models(client, cancel)
        if len(models) == 1:
            models = [_detailed(models[0], client, api, cancel)]
        title = f"{api.name} {api.version(client, cancel)}".strip()
        model_error = _model_error(address, client, api, cancel)
    except RequestCancelled:
        return _failed(address, _slow(address, settings.limits.connect_s))
    except Exception as error:  # noqa: BLE001 - one server must not hide the others
        return _failed(address, as_hermes_error(error), kind)
    return ServerState(
        address.label,
        address.base_url,
        api.kind,
        title,
        tuple(models),
        model_error=model_error,
        tokenizer=address.tokenizer,
    )


def _detailed(listed: RemoteModel, client: ServerClient, api: ServerApi, cancel: Cancel) -> RemoteModel:
    """Return a listed model with the sizes that the server reports only for one model."""
    model = api.find_model(client, listed.name, cancel)
    is_loaded = listed.is_loaded if listed.is_loaded is not None else model.is_loaded
    return RemoteModel(
        listed.name,
        listed.context_size or model.context_size,
        listed.max_context_size or model.max_context_size,
        is_loaded,
    )


def _model_error(
    address: ServerAddress, client: ServerClient, api: ServerApi, cancel: Cancel
) -> HermesError | None:
    """Return the error if the server does not have the model of its settings, or does not list it."""
    if not address.model:
        return None
    try:
        model = api.find_model(client, address.model, cancel)
        if not model.is_listed:
            pick_model(api.models(client, cancel), address.model, client.where)
    except ServerUnavailable as error:
        return error
    return None


def _failed(address: ServerAddress, error: HermesError, kind: str = "") -> ServerState:
    return ServerState(address.label, address.base_url, kind, error=error)


def _slow(address: ServerAddress, limit_s: float) -> HermesError:
    return ServerUnavailable(
        f"the server {address.label} does not answer within {limit_s:g} seconds",
        "check the address, and that the server is running",
    )
