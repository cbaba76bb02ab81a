"""Ollama: its own chat API, which can set the context window, and can refuse a prompt instead of cutting it.

Source: Ollama's docs/api.md and api/types.go at 0.40, and its Modelfile reference for the options. The
fields `truncate` and `shift` of a chat request exist since 0.12.6; older versions ignore them.
"""

from collections.abc import Collection, Sequence
from typing import Final

from hermes_cli.engines.base import Cancel, FinishReason, Usage
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.event_stream import JsonLines
from hermes_cli.engines.remote.servers.api import (
    REASONING,
    AnswerPart,
    AnswerRequest,
    RemoteModel,
    TokenApi,
    checked,
    mapped_options,
    message_list,
    require_continuable,
    version_in,
)
from hermes_cli.engines.remote.servers.chat_completions import context_size, finish_reason, pick_model
from hermes_cli.errors import ServerUnavailable
from hermes_cli.messages import Message
from hermes_cli.options import MAX_CONTEXT, GenerationOptions
from hermes_cli.untrusted.value import Value

OPTIONS: Final = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "repetition_range": "repeat_last_n",
    "max_tokens": "num_predict",
    "seed": "seed",
}
_DEFAULT_TAG: Final = ":latest"


class Ollama:
    """Ollama. It loads a model with the first request, and again if the context window changes."""

    kind = "ollama"
    name = "Ollama"
    cannot_continue = ""
    can_exclude_reasoning = True
    keeps_models = False
    if_no_models = "download one with: ollama pull MODEL"
    options: Collection[str] = frozenset({*OPTIONS, *REASONING})
    tokens: TokenApi | None = None

    def __init__(self, root_url: str) -> None:
        self._root_url = root_url

    def recognizes(self, client: ServerClient, cancel: Cancel) -> bool:
        """Return whether the server has Ollama's version endpoint."""
        body = client.probe(f"{self._root_url}/api/version", cancel)
        return isinstance(body, dict) and isinstance(body.get("version"), str)

    def version(self, client: ServerClient, cancel: Cancel) -> str:
        """Return the version; see ServerApi.version."""
        return version_in(client.probe(f"{self._root_url}/api/version", cancel), "version")

    def models(self, client: ServerClient, cancel: Cancel) -> list[RemoteModel]:
        """Return the local models. Those that are loaded have a context window; see also `find_model`."""
        body = client.get(f"{self._root_url}/api/tags", cancel)
        names = [entry["name"].line() for entry in checked(body, client)["models"].tables()]
        running = client.probe(f"{self._root_url}/api/ps", cancel)
        if not isinstance(running, dict) or not isinstance(running.get("models"), list):
            return [RemoteModel(name) for name in names]
        loaded = {
            entry.get("name").text(): context_size(entry, "context_length")
            for entry in checked(running, client)["models"].tables()
        }
        return [RemoteModel(name, loaded.get(name), is_loaded=name in loaded) for name in names]

    def find_model(self, client: ServerClient, name: str, cancel: Cancel) -> RemoteModel:
        """Return a model with the longest context window that it supports; see ServerApi.find_model."""
        try:
            body = client.post(f"{self._root_url}/api/show", {"model": name}, cancel)
        except ServerUnavailable:
            models = self.models(client, cancel)
            full_name = name if ":" in name else name + _DEFAULT_TAG
            return pick_model(models, full_name, self.name, f"download it with: ollama pull {name}")
        info = checked(body, client).get("model_info").table()
        architecture = info.get("general.architecture").text()
        return RemoteModel(name, max_context_size=context_size(info, f"{architecture}.context_length"))

    def chat_request(
        self,
        model: RemoteModel,
        messages: Sequence[Message],
        options: GenerationOptions,
        context_size: int,
    ) -> AnswerRequest:
        """Return the request for an answer; see ServerApi.chat_request.

        Ollama continues an assistant's message if it is the last one.
        """
        require_continuable(self, messages)
        sampling = mapped_options(options, OPTIONS, self.name, REASONING)
        sampling["repeat_last_n"] = min(options.repetition_range or context_size, context_size)
        sampling["num_ctx"] = context_size
        sampling.setdefault("num_predict", -1)
        body = {
            "model": model.name,
            "messages": message_list(messages),
            "stream": True,
            "truncate": False,
            "shift": False,
            "options": sampling,
        }
        body |= {"think": False} if options.thinking_budget == 0 else {}
        return AnswerRequest(f"{self._root_url}/api/chat", body, _read_line, JsonLines)


def _read_line(line: Value) -> AnswerPart:
    """Return the part of an answer in a line of the stream."""
    message = line.get("message").table()
    if message.get("tool_calls").value:
        finish_reason("tool_calls")
    text, reasoning = message.get("content").text(), message.get("thinking").text()
    if not line.get("done").boolean():
        return AnswerPart(text, reasoning)
    reason = finish_reason(line.get("done_reason").text()) or FinishReason.STOP
    # An old version leaves out the count of a prompt that is in its cache.
    prompt = line.get("prompt_eval_count").integer(0, MAX_CONTEXT)
    usage = Usage(prompt, line.get("eval_count").integer(0, MAX_CONTEXT))
    return AnswerPart(text, reasoning, finish=reason, usage=usage)
