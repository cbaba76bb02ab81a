"""Opens models on servers: finds the server that a name means, lets the user choose a model, and connects."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from hermes_cli.application.runtime import Runtime
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote import address as addresses
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.options import suggestion
from hermes_cli.screen.columns import columns
from hermes_cli.screen.sanitize import sanitize_line

if TYPE_CHECKING:  # imported only if a server is used
    from hermes_cli.engines.remote.engine import RemoteEngine
    from hermes_cli.engines.remote.local_vocabulary import LocalVocabulary

MAX_SHOWN = 50


def find_server(runtime: Runtime, name: str | None, *, insecure: bool = False) -> ServerAddress | None:
    """Return the server that a name, or else the setting `model`, means, or None if it is not a server.

    `insecure` allows to send a key over plain HTTP. Raises UsageError or ConfigError for an invalid address.
    """
    named = name or runtime.settings.model
    if not named:
        return None
    try:
        found = addresses.parse(named, runtime.settings.servers, runtime.environ)
    except HermesError as error:
        if name:
            raise
        source = f"the model is set in the {runtime.settings.source('model')}"
        raise type(error)(error.message, "; ".join(filter(None, (source, error.hint)))) from None
    return found._replace(is_insecure=True) if found is not None and insecure else found


@contextmanager
def suggested_server(runtime: Runtime, name: str | None) -> Iterator[None]:
    """If the block raises UnknownModel for a name, or else for the setting `model`, suggest a server."""
    from hermes_cli.models.reference import SPELLINGS, UnknownModel

    try:
        yield
    except UnknownModel as error:
        text = name or runtime.settings.model or ""
        message, hint = _unknown(text, runtime.settings.servers)
        raise UnknownModel(message, error.hint.replace(SPELLINGS, hint or SPELLINGS)) from None


def _unknown(text: str, servers: Iterable[str]) -> tuple[str, str]:
    """Return the message about an argument that names no model, and the hint about a server, or ""."""
    from hermes_cli.models.catalogue import CATALOGUE

    message = f"there is no model '{text}'"
    if url := addresses.similar_url(text):
        return message, f"did you mean {url}?"
    name = text.partition(":")[0].lower()
    for kind, port in addresses.LOCAL_PORTS.items():
        if name.replace("_", "-") == kind.lower():
            return message, f"{kind} is named by its URL; at its default port: -m http://localhost:{port}/v1"
    return message + suggestion(name, [*CATALOGUE, *addresses.LOCAL_SERVERS, *servers]), ""


def with_model(runtime: Runtime, address: ServerAddress) -> ServerAddress:
    """Return the address with a model. If the server has several, let the user choose one at a terminal.

    Raises UsageError if several models are possible and nobody can be asked, and the errors of the server.
    """
    if address.model:
        return address
    from hermes_cli.engines.remote.connection import connect, only_model

    client, api = connect(address, runtime.environ, Cancel())
    try:
        return address._replace(model=only_model(client, api, Cancel()))
    except UsageError:
        if not (runtime.terminal.stdin_is_tty and runtime.terminal.stderr_is_tty):
            raise
    models = api.models(client, Cancel())[:MAX_SHOWN]
    runtime.terminal.prose(f"{sanitize_line(api.name)} has several models:")
    rows = [
        (str(number), sanitize_line(model.name), "loaded" if model.is_loaded else "")
        for number, model in enumerate(models, 1)
    ]
    runtime.terminal.rows(columns(rows, indent="  "))
    answer = runtime.terminal.ask(f"1 to {len(models)} [1]: ").strip() or "1"
    chosen = models[int(answer) - 1] if answer.isdecimal() and 1 <= int(answer) <= len(models) else models[0]
    return address._replace(model=chosen.name)


def open_server(
    runtime: Runtime,
    address: ServerAddress,
    context_size: int | None,
    notify: Callable[[str], None],
    cancel: Cancel,
) -> "RemoteEngine":
    """Connect to a server, and return its engine. `notify` gets what the user should know.

    At a terminal, this includes what the server does not promise. Raises RequestCancelled if `cancel` is set.
    """
    from hermes_cli.engines.remote.connection import open_engine

    engine = open_engine(
        address,
        runtime.environ,
        context_size=context_size,
        notify=lambda message: notify(sanitize_line(message, 1000)),
        cancel=cancel,
        open_tokenizer=tokenizer_opener(runtime, address),
    )
    if context_size is not None and engine.context_size < context_size:
        size = f"{engine.context_size:,} tokens, not {context_size:,}"
        notify(f"{engine.server_name} has a context window of {size}")
    for remark in filter(None, (engine.tokenizer_problem, engine.level_remark)):
        if runtime.terminal.stderr_is_tty:
            notify(sanitize_line(remark, 1000))
    return engine


def tokenizer_opener(runtime: Runtime, address: ServerAddress) -> "Callable[[], LocalVocabulary] | None":
    """Return the function that opens the tokenizer of the config file, or None if none is configured."""
    if not address.tokenizer:
        return None
    from hermes_cli.application.server_tokenizer import open_tokenizer

    return partial(open_tokenizer, runtime, address)


def require_local(runtime: Runtime, name: str) -> None:
    """Raise ModelUnavailable if a name means a model on a server."""
    if find_server(runtime, name) is not None:
        raise _not_local(name)


@contextmanager
def local_model(runtime: Runtime, name: str) -> Iterator[None]:
    """If no model on this machine has the name, and a server has it, raise ModelUnavailable with that reason.

    A model on this machine comes first: its command may remove one that has the name of a server.
    """
    try:
        yield
    except (ModelUnavailable, UsageError):
        if _names_server(runtime, name):
            raise _not_local(name) from None
        raise


def _names_server(runtime: Runtime, name: str) -> bool:
    try:
        return find_server(runtime, name) is not None
    except HermesError:  # in the config file, which the command does not need
        return False


def _not_local(name: str) -> ModelUnavailable:
    from hermes_cli.models.reference import NEEDS_LOCAL

    return ModelUnavailable(f"{name} is a model on a server, and this needs one on this machine", NEEDS_LOCAL)
