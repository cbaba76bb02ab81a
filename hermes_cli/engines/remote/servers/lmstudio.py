"""LM Studio: OpenAI's chat API, and its own list of models.

Source: LM Studio's documentation of 0.4: "Chat Completions" of the OpenAI compatibility endpoints, "REST API
v0", and the API changelog. Usage in a stream needs 0.3.18 or later.
"""

from collections.abc import Collection, Sequence
from typing import Final

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers import chat_completions
from hermes_cli.engines.remote.servers.api import (
    AnswerRequest,
    RemoteModel,
    TokenApi,
    checked,
    mapped_options,
    message_list,
    require_continuable,
)
from hermes_cli.messages import Message
from hermes_cli.options import GenerationOptions

OPTIONS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repeat_penalty",
    "max_tokens": "max_tokens",
    "seed": "seed",
}
_GENERATES_TEXT: Final = {"llm", "vlm"}


class LMStudio:
    """LM Studio. It loads a model with the first request for it."""

    kind = "lmstudio"
    name = "LM Studio"
    cannot_continue = "its API does not document how"
    can_exclude_reasoning = False
    keeps_models = True
    if_no_models = ""
    options: Collection[str] = frozenset(OPTIONS)
    tokens: TokenApi | None = None

    def __init__(self, base_url: str, root_url: str) -> None:
        self._base_url = base_url
        self._models_url = f"{root_url}/api/v0/models"

    def recognizes(self, client: ServerClient, cancel: Cancel) -> bool:
        """Return whether the server has LM Studio's list of models, with the state of each."""
        body = client.probe(self._models_url, cancel)
        entries = body.get("data") if isinstance(body, dict) else None
        return isinstance(entries, list) and all(
            isinstance(entry, dict) and "state" in entry and "compatibility_type" in entry
            for entry in entries
        )

    def version(self, client: ServerClient, cancel: Cancel) -> str:  # noqa: ARG002 - the interface
        """Return an empty string: its API does not report the version."""
        return ""

    def models(self, client: ServerClient, cancel: Cancel) -> list[RemoteModel]:
        """Return the downloaded models."""
        entries = checked(client.get(self._models_url, cancel), client)["data"].tables()
        return [
            RemoteModel(
                entry["id"].line(),
                chat_completions.context_size(entry, "loaded_context_length"),
                chat_completions.context_size(entry, "max_context_length"),
                entry.get("state").text() == "loaded",
            )
            for entry in entries
            if entry.get("type").text() in _GENERATES_TEXT
        ]

    def find_model(self, client: ServerClient, name: str, cancel: Cancel) -> RemoteModel:
        """Return a downloaded model; see ServerApi.find_model."""
        return chat_completions.pick_model(self.models(client, cancel), name, self.name)

    def chat_request(
        self,
        model: RemoteModel,
        messages: Sequence[Message],
        options: GenerationOptions,
        context_size: int,  # noqa: ARG002 - it is set when the model is loaded
    ) -> AnswerRequest:
        """Return the request for an answer; see ServerApi.chat_request."""
        require_continuable(self, messages)
        sampling = mapped_options(options, OPTIONS, self.name)
        body = chat_completions.chat_body(model, message_list(messages), sampling)
        return AnswerRequest(f"{self._base_url}/chat/completions", body, chat_completions.read_chunk)
