"""llama-server of llama.cpp: completions of token ids, its tokenizer, and OpenAI's chat API.

Source: tools/server/README.md of llama.cpp (build b7000 and later).
"""

from collections.abc import Sequence
from typing import Any, Final

from hermes_cli.engines.base import Cancel, FinishReason, Progress, Usage
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers import chat_completions
from hermes_cli.engines.remote.servers.api import (
    AnswerPart,
    AnswerRequest,
    RemoteModel,
    TokenApi,
    checked,
    mapped_options,
    message_list,
    require_continuable,
)
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
    "dry_multiplier": "dry_multiplier",
    "dry_base": "dry_base",
    "dry_allowed_length": "dry_allowed_length",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "seed": "seed",
}
SAMPLERS: Final = ("penalties", "dry", "top_k", "top_p", "min_p", "xtc", "temperature")
"""The order in which every engine of hermes applies the options."""
UNKNOWN_CONTEXT: Final = 4096


class LlamaServer:
    """llama-server. It serves one model, or several as a router."""

    kind = "llama-server"
    name = "llama-server"
    cannot_continue = ""

    def __init__(self, base_url: str, root_url: str) -> None:
        self._base_url = base_url
        self._root_url = root_url
        self.tokens: TokenApi | None = LlamaTokens(root_url)

    def recognizes(self, client: ServerClient, cancel: Cancel) -> bool:
        """Return whether the server has llama-server's properties."""
        body = client.probe(f"{self._root_url}/props", cancel)
        return isinstance(body, dict) and "default_generation_settings" in body

    def models(self, client: ServerClient, cancel: Cancel) -> list[RemoteModel]:
        """Return the served models, with the longest context window that each supports."""
        return [
            RemoteModel(
                entry["id"].line(),
                max_context_size=chat_completions.context_size(entry.get("meta").table(), "n_ctx_train"),
            )
            for entry in chat_completions.listed_models(client, cancel)
        ]

    def find_model(self, client: ServerClient, name: str, cancel: Cancel) -> RemoteModel:
        """Return a served model with its context window; see ServerApi.find_model."""
        model = chat_completions.pick_model(self.models(client, cancel), name, self.name)
        props = checked(client.get(f"{self._root_url}/props", cancel), client)
        settings = props.get("default_generation_settings").table()
        size = chat_completions.context_size(settings, "n_ctx")
        return RemoteModel(model.name, size, model.max_context_size or size, is_loaded=True)

    def chat_request(
        self,
        model: RemoteModel,
        messages: Sequence[Message],
        options: GenerationOptions,
        context_size: int,
    ) -> AnswerRequest:
        """Return the request for an answer; see ServerApi.chat_request.

        llama-server continues an assistant's message if it is the last one.
        """
        require_continuable(self, messages)
        sampling = _sampling(options, context_size)
        if options.max_tokens is not None:
            sampling["max_tokens"] = options.max_tokens
        body = chat_completions.chat_body(model, message_list(messages), sampling)
        return AnswerRequest(f"{self._base_url}/chat/completions", body, chat_completions.read_chunk)


class LlamaTokens:
    """The token ids of llama-server; see TokenApi."""

    def __init__(self, root_url: str) -> None:
        self._root_url = root_url

    def request(
        self,
        model: RemoteModel,
        prompt: Sequence[int],
        options: GenerationOptions,
        ends: Sequence[int],  # noqa: ARG002 - llama.cpp knows the end tokens of its model
    ) -> AnswerRequest:
        """Return the request for an answer to a prompt of token ids; see TokenApi.request."""
        body = {
            "model": model.name,
            "prompt": list(prompt),
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            "n_predict": -1 if options.max_tokens is None else options.max_tokens,
            **_sampling(options, model.context_size or UNKNOWN_CONTEXT),
        }
        return AnswerRequest(f"{self._root_url}/completion", body, _read_completion)

    def encode(
        self, client: ServerClient, model: RemoteModel, text: str, cancel: Cancel, *, control: bool = False
    ) -> list[int]:
        """Return the token ids of a text; see TokenApi.encode."""
        body = {"model": model.name, "content": text, "add_special": False, "parse_special": control}
        answer = client.post(f"{self._root_url}/tokenize", body, cancel)
        return list(chat_completions.read_ids(checked(answer, client)["tokens"]))

    def count(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> int:
        """Return the number of tokens of the prompt; see TokenApi.count."""
        body: dict[str, Any] = {"model": model.name, "messages": message_list(messages)}
        prompt = checked(client.post(f"{self._root_url}/apply-template", body, cancel), client)[
            "prompt"
        ].text()
        body = {"model": model.name, "content": prompt, "add_special": True, "parse_special": True}
        answer = checked(client.post(f"{self._root_url}/tokenize", body, cancel), client)
        return len(answer["tokens"].items())


def _sampling(options: GenerationOptions, context_size: int) -> dict[str, Any]:
    """Return the options under llama.cpp's names."""
    sampling = mapped_options(options, OPTIONS, LlamaServer.name, {"max_tokens"})
    # In llama.cpp, 0 disables the penalty.
    sampling["repeat_last_n"] = min(options.repetition_range or context_size, context_size)
    sampling["dry_penalty_last_n"] = context_size
    sampling["samplers"] = list(SAMPLERS)
    sampling.setdefault("seed", -1)
    return sampling


def _read_completion(event: Value) -> AnswerPart:
    """Return the part of an answer in an event of the completion API."""
    ids = chat_completions.read_ids(event.get("tokens"))
    text = event.get("content").text()
    progress = event.get("prompt_progress")
    if progress.value is not None:
        cached, done, total = (
            progress[name].integer(0, MAX_CONTEXT) for name in ("cache", "processed", "total")
        )
        return AnswerPart(text, ids=ids, progress=Progress(max(done - cached, 0), max(total - cached, 0)))
    if not event.get("stop").boolean():
        return AnswerPart(text, ids=ids)
    is_cut = event.get("stop_type").text() == "limit" or event.get("truncated").boolean()
    finish = FinishReason.LENGTH if is_cut else FinishReason.STOP
    prompt = event.get("tokens_evaluated").integer(0, MAX_CONTEXT)
    cached = event.get("timings").table().get("cache_n").integer(0, MAX_CONTEXT)
    usage = Usage(prompt, event.get("tokens_predicted").integer(0, MAX_CONTEXT), min(cached, prompt))
    return AnswerPart(text, ids=ids, finish=finish, usage=usage)
