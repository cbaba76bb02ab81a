"""Connects to a server: finds out its kind, its model and what it supports, and opens the engine."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.client import ClientSettings, ServerClient
from hermes_cli.engines.remote.engine import RemoteEngine
from hermes_cli.engines.remote.key import read_key
from hermes_cli.engines.remote.local_vocabulary import LocalVocabulary
from hermes_cli.engines.remote.servers.api import RemoteModel, ServerApi
from hermes_cli.engines.remote.servers.detection import detect
from hermes_cli.engines.remote.vocabulary import RemoteVocabulary
from hermes_cli.errors import ServerError, ServerUnavailable, UsageError
from hermes_cli.prompts.prompt_format import PromptFormat

DEFAULT_CONTEXT: Final = 8192
"""The context window for a server that reports none, and that for which Ollama loads a model."""
SHOWN_MODELS: Final = 5


def open_engine(
    address: ServerAddress,
    environ: Mapping[str, str],
    *,
    context_size: int | None = None,
    notify: Callable[[str], None] = lambda _message: None,
    cancel: Cancel | None = None,
    settings: ClientSettings | None = None,
    open_tokenizer: Callable[[], LocalVocabulary] | None = None,
) -> RemoteEngine:
    """Return the engine of a model on a server, after asking what the server supports.

    `open_tokenizer` returns the tokenizer of the same model on this machine; its errors are raised, too.

    Raises ServerUnavailable if there is no server or no such model, UsageError if the server has several
    models and none is named, KeyRefused, ServerBusy, ServerError, ConfigError, and RequestCancelled.
    """
    cancel = cancel or Cancel()
    client, api = connect(address, environ, cancel, settings)
    model = api.find_model(client, address.model or only_model(client, api, cancel), cancel)
    size = _context_size(model, context_size or address.context_size)
    with ExitStack() as unused:
        local = None
        if open_tokenizer is not None:
            local = open_tokenizer()
            unused.callback(local.close)
        vocabulary, prompt_format, problem = _vocabulary(client, api, model, local, cancel)
        if vocabulary is local:
            unused.pop_all()
    return RemoteEngine(
        client,
        api,
        model,
        size,
        vocabulary=vocabulary,
        prompt_format=prompt_format,
        tokenizer_problem=problem,
        notify=notify,
    )


def _vocabulary(
    client: ServerClient, api: ServerApi, model: RemoteModel, local: LocalVocabulary | None, cancel: Cancel
) -> tuple[RemoteVocabulary | LocalVocabulary | None, PromptFormat | None, str]:
    """Return the vocabulary and the prompt format to use, and the reason if it is not the local one."""
    if api.tokens is None:
        return local, None, ""
    problem = ""
    try:
        if local is not None:
            if (agreed := local.format_of(client, api.tokens, model, cancel)) is not None:
                return local, agreed, ""
            problem = f"{api.name} makes other token ids of a conversation than the tokenizer of {local.name}"
            local = None
        vocabulary = RemoteVocabulary(client, api.tokens, model, cancel)
        with vocabulary.cancelled_by(cancel):
            return vocabulary, vocabulary.prompt_format(), problem
    except (ServerUnavailable, ServerError):  # a gateway in front of it has only OpenAI's API
        return local, None, problem


def connect(
    address: ServerAddress,
    environ: Mapping[str, str],
    cancel: Cancel,
    settings: ClientSettings | None = None,
) -> tuple[ServerClient, ServerApi]:
    """Return a client for a server, and its API. Raises the errors of `open_engine`."""
    key = None if address.key is None else read_key(address.key, environ)
    client = ServerClient(address, key, environ, settings)
    return client, detect(client, cancel)


def only_model(client: ServerClient, api: ServerApi, cancel: Cancel) -> str:
    """Return the name of the server's only model, or of the only one that is loaded.

    Raises UsageError if there are several, and ServerUnavailable if there is none.
    """
    models = api.models(client, cancel)
    loaded = [model for model in models if model.is_loaded and api.keeps_models]
    for choice in (models, loaded):
        if len(choice) == 1:
            return choice[0].name
    if not models:
        named = f"load one there, or name one: -m {client.address.argument}:MODEL"
        raise ServerUnavailable(f"{client.where} lists no models", api.if_no_models or named)
    names = ", ".join(model.name for model in models[:SHOWN_MODELS])
    more = ", …" if len(models) > SHOWN_MODELS else ""
    raise UsageError(
        f"{client.where} has {len(models)} models: {names}{more}",
        f"name one, for example with: -m {client.address.argument}:{models[0].name}",
    )


def _context_size(model: RemoteModel, requested: int | None) -> int:
    """Return the context window to use. One that the server has fixed can only be used in part."""
    if model.context_size is not None:
        return min(requested or model.context_size, model.context_size)
    size = requested or DEFAULT_CONTEXT
    return min(size, model.max_context_size) if model.max_context_size is not None else size
