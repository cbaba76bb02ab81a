"""Opens models on servers: finds the server that a name means, lets the user choose a model, and connects."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
from hermes_cli.screen.terminal import Terminal
from hermes_cli.screen.waiting import waiting

if TYPE_CHECKING:  # imported only if a server is used
    from hermes_cli.engines.remote.engine import RemoteEngine
    from hermes_cli.engines.remote.local_vocabulary import LocalVocabulary
    from hermes_cli.engines.remote.servers.api import RemoteModel

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
        # The hint may begin with where the name is set.
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

    Raises UsageError if several models are possible and nobody answers, and the errors of the server.
    """
    if address.model:
        return address
    from hermes_cli.engines.remote.connection import connect, only_model

    with connecting(runtime.terminal, address):
        client, api = connect(address, runtime.environ, Cancel())
        try:
            return address._replace(model=only_model(client, api, Cancel()))
        except UsageError as error:
            if not runtime.terminal.asks:
                raise
            several, models = error, api.models(client, Cancel())
    runtime.terminal.prose(f"{sanitize_line(api.name)} has several models:")
    if (chosen := _choose(runtime.terminal, models)) is None:
        raise several
    return address._replace(model=chosen)


def _choose(terminal: Terminal, models: "Sequence[RemoteModel]") -> str | None:
    """Let the user choose a model by its number, its name, or a beginning of it that no other name has.

    Return None at the end of the input.
    """
    names = [model.name for model in models]
    by_number = {str(number): name for number, name in enumerate(names[:MAX_SHOWN], 1)}
    rows = [
        (number, sanitize_line(name), "loaded" if model.is_loaded else "")
        for (number, name), model in zip(by_number.items(), models, strict=False)
    ]
    terminal.rows(columns(rows, indent="  "))
    question = f"1 to {len(rows)} [1]: "
    if len(models) > MAX_SHOWN:
        terminal.prose(f"  and {len(models) - MAX_SHOWN:,} more")
        question = f"1 to {len(rows)}, or a name [1]: "
    while line := terminal.ask(question):
        answer = line.strip() or "1"
        if answer in names:
            return answer
        found = [by_number[answer]] if answer in by_number else [n for n in names if n.startswith(answer)]
        if len(found) == 1:
            return found[0]
        problem = "several models begin with" if found else "there is no"
        terminal.notice(f"{problem} '{sanitize_line(answer)}'", essential=True)
    return None


def connecting(terminal: Terminal, address: ServerAddress) -> AbstractContextManager[Callable[[], None]]:
    """Show that the server is asked until the yielded function is called or the block ends."""
    label = sanitize_line(address.label)
    return waiting(terminal, lambda: f"connecting to {label} · Ctrl-C cancels")


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
