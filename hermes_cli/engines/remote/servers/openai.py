"""Any server with OpenAI's chat completions API, and OpenAI's own.

Source: OpenAI's API reference, version 2.3.0 of its OpenAPI document.
"""

from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import urlsplit

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers import chat_completions
from hermes_cli.engines.remote.servers.api import (
    AnswerRequest,
    RemoteModel,
    TokenApi,
    mapped_options,
    message_list,
    require_continuable,
)
from hermes_cli.messages import Message
from hermes_cli.options import GenerationOptions

OPTIONS: Final = {"temperature": "temperature", "top_p": "top_p", "seed": "seed"}
_OPENAI_HOST: Final = "api.openai.com"


class OpenAI:
    """OpenAI's API, as far as all its implementations have it."""

    kind = "openai"
    name = "the OpenAI API"
    cannot_continue = "it starts a new one after each message"
    can_exclude_reasoning = False
    keeps_models = True
    if_no_models = ""
    options: Collection[str] = frozenset({*OPTIONS, "max_tokens"})
    tokens: TokenApi | None = None

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        # OpenAI's newer models refuse max_tokens, and older servers do not know max_completion_tokens.
        is_openai = urlsplit(base_url).hostname == _OPENAI_HOST
        self._options = OPTIONS | {"max_tokens": "max_completion_tokens" if is_openai else "max_tokens"}

    def recognizes(self, client: ServerClient, cancel: Cancel) -> bool:
        """Return whether the server has a list of models in OpenAI's format.

        Raises StatusError if it has that endpoint, but fails.
        """
        body = client.probe(f"{self._base_url}/models", cancel, may_fail=False)
        return isinstance(body, dict) and isinstance(body.get("data"), list)

    def version(self, client: ServerClient, cancel: Cancel) -> str:  # noqa: ARG002 - the interface
        """Return an empty string: OpenAI's API has no version of the server."""
        return ""

    def models(self, client: ServerClient, cancel: Cancel) -> list[RemoteModel]:
        """Return the listed models; some servers add the size of the context window."""
        names = ("context_length", "context_window", "max_model_len")
        return [
            RemoteModel(entry["id"].line(), max_context_size=chat_completions.context_size(entry, *names))
            for entry in chat_completions.listed_models(client, cancel)
        ]

    def find_model(self, client: ServerClient, name: str, cancel: Cancel) -> RemoteModel:
        """Return a model. One that is not listed may still exist, for example as an alias."""
        listed = client.probe(f"{self._base_url}/models", cancel)
        models = self.models(client, cancel) if isinstance(listed, dict) and listed.get("data") else []
        unknown = RemoteModel(name, is_listed=not models)
        return next((model for model in models if model.name == name), unknown)

    def chat_request(
        self,
        model: RemoteModel,
        messages: Sequence[Message],
        options: GenerationOptions,
        context_size: int,  # noqa: ARG002 - servers of this kind cannot change it
    ) -> AnswerRequest:
        """Return the request for an answer; see ServerApi.chat_request."""
        require_continuable(self, messages)
        sampling = mapped_options(options, self._options, self.name)
        body = chat_completions.chat_body(model, message_list(messages), sampling)
        return AnswerRequest(f"{self._base_url}/chat/completions", body, chat_completions.read_chunk)
