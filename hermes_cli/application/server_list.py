"""Lists the model servers of the user and of this machine, and asks them for their models."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import find_server
from hermes_cli.engines.remote import address as addresses
from hermes_cli.engines.remote.address import LOCAL_PORTS, OLLAMA_HOST, ServerAddress, local_servers
from hermes_cli.engines.remote.server_state import ServerState, ask_servers
from hermes_cli.engines.remote.servers.api import RemoteModel
from hermes_cli.errors import ConfigError, HermesError, KeyRefused, ServerBusy
from hermes_cli.screen.columns import columns
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

MAX_SHOWN: Final = 100
"""How many models of a server are listed."""


def configured_states(runtime: Runtime) -> list[ServerState]:
    """Ask the servers of the config file, and the one that the setting `model` names, for their state.

    If none is configured, nothing is contacted. Raises ConfigError if the config file is invalid.
    """
    found, invalid = _configured(runtime)
    return [*invalid, *ask_servers(found, runtime.environ)]


def all_states(runtime: Runtime, ports: Mapping[str, int] = LOCAL_PORTS) -> list[ServerState]:
    """Ask the configured servers, and those at the default ports of this machine, for their state.

    The address in OLLAMA_HOST is asked, too. A default port where no model server answers is left out. Raises
    ConfigError if the config file is invalid.
    """
    found, invalid = _configured(runtime)
    usual = [f"http://127.0.0.1:{port}" for port in ports.values()]
    if runtime.environ.get(OLLAMA_HOST) and "ollama" not in runtime.settings.servers:
        usual.insert(0, "ollama")
    known = {_place(address) for address in found}
    others = list[ServerAddress]()
    for name in usual:
        try:
            address = addresses.parse(name, {}, runtime.environ)
        except ConfigError as error:  # in OLLAMA_HOST
            invalid.append(ServerState(name, "", error=error))
            continue
        if address is not None and _place(address) not in known:
            known.add(_place(address))
            others.append(address)
    states = ask_servers([*found, *others], runtime.environ)
    answered = [state for state in states[len(found) :] if _is_model_server(state)]
    return [*invalid, *states[: len(found)], *answered]


def _is_model_server(state: ServerState) -> bool:
    """Return whether a model server has answered, or a server that requires a key or is busy."""
    return state.error is None or bool(state.kind) or isinstance(state.error, KeyRefused | ServerBusy)


def _place(address: ServerAddress) -> tuple[str, int]:
    """Return the host and the port of a server; this machine has several names."""
    return "127.0.0.1" if addresses.is_loopback(address.host) else address.host, address.port


def _configured(runtime: Runtime) -> tuple[list[ServerAddress], list[ServerState]]:
    """Return the configured servers, and the states of those whose settings are invalid."""
    found: list[ServerAddress] = []
    invalid: list[ServerState] = []
    for name, settings in runtime.settings.servers.items():
        try:
            found.append(addresses.from_settings(name, settings))
        except ConfigError as error:
            invalid.append(ServerState(name, "", error=error))
    try:
        default = find_server(runtime, None)
    except HermesError:  # `hermes doctor` reports it as that of the model
        default = None
    if default is not None and default.label not in runtime.settings.servers:
        found.append(default)
    return found, invalid


def configured_text(runtime: Runtime) -> str:
    """Return one line for each server of the config file. No server is contacted."""
    return columns(
        [(name, sanitize_line(one.url), one.model) for name, one in runtime.settings.servers.items()],
        indent="  ",
    )


def states_text(states: Sequence[ServerState], environ: Mapping[str, str]) -> str:
    """Return a line for each server, and under it one for each of its models, with the argument of -m."""
    rows = [row for state in states for row in _rows(state, environ)]
    lines = iter(columns(rows, indent="  ").split("\n") if rows else [])
    return "\n".join(line for state in states for line in _lines(state, lines))


def _lines(state: ServerState, rows: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a server; its rows are the next ones of `rows`."""
    name = state.name if "://" not in state.name else ""
    yield sanitize_line(" · ".join(filter(None, (name, state.url, state.title))), LONG_LINE)
    for problem in filter(None, (state.error, state.model_error)):
        yield sanitize_line(f"  {'; '.join(filter(None, (problem.message, problem.hint)))}", LONG_LINE)
    if state.error is None and not state.models:
        yield "  it has no models"
    for _ in state.models[:MAX_SHOWN]:
        yield next(rows)
    if (more := len(state.models) - MAX_SHOWN) > 0:
        yield f"  and {more:,} more"


def _rows(state: ServerState, environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for model in state.models[:MAX_SHOWN]:
        loaded = {True: "loaded", False: "not loaded", None: ""}[model.is_loaded]
        typed = sanitize_line(f"{_typed(state, environ)}:{model.name}", LONG_LINE)
        yield shlex.quote(typed), loaded, _context(model)


def _typed(state: ServerState, environ: Mapping[str, str]) -> str:
    """Return how the user names the server with -m."""
    if "://" not in state.name:
        return state.name
    local = local_servers(environ).get(state.kind)
    return state.kind if local is not None and local.url == state.url else state.url


def _context(model: RemoteModel) -> str:
    if model.context_size:
        return f"context {model.context_size:,}"
    return f"context up to {model.max_context_size:,}" if model.max_context_size else ""
