"""vLLM: completions of token ids, its tokenizer, and OpenAI's chat API.

Source: vLLM's protocol classes and its documentation "OpenAI-Compatible Server" (0.11; tried with 0.32):
`return_token_ids` needs 0.10.2 or later; older versions ignore it.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.detokenizer import entry_bytes
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers import chat_completions
from hermes_cli.engines.remote.servers.api import (
    REASONING,
    WITHOUT_REASONING,
    AnswerPart,
    AnswerRequest,
    RemoteModel,
    Token,
    TokenApi,
    checked,
    mapped_options,
    message_list,
    require_continuable,
    version_in,
)
from hermes_cli.messages import Message
from hermes_cli.options import FIELDS, GenerationOptions
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.prompt_format import is_continued
from hermes_cli.untrusted.value import Value

_BYTE_LEVEL: Final = frozenset("ĠĊĉ")
"""The characters that stand for whitespace in byte-level vocabularies."""
OPTIONS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_tokens": "max_tokens",
    "seed": "seed",
}


class VLLM:
    """vLLM, also for many users at once."""

    kind = "vllm"
    name = "vLLM"
    cannot_continue = ""
    can_exclude_reasoning = True
    keeps_models = True
    if_no_models = ""
    options: Collection[str] = frozenset({*OPTIONS, *REASONING, "repetition_range"})

    def __init__(self, base_url: str, root_url: str) -> None:
        self._base_url = base_url
        self._root_url = root_url
        self.tokens: TokenApi | None = VLLMTokens(base_url, root_url)

    def recognizes(self, client: ServerClient, cancel: Cancel) -> bool:
        """Return whether the server has vLLM's version endpoint, or its models are vLLM's."""
        body = client.probe(f"{self._root_url}/version", cancel)
        return isinstance(body, dict) and isinstance(body.get("version"), str)

    def version(self, client: ServerClient, cancel: Cancel) -> str:
        """Return the version; see ServerApi.version."""
        return version_in(client.probe(f"{self._root_url}/version", cancel), "version")

    def models(self, client: ServerClient, cancel: Cancel) -> list[RemoteModel]:
        """Return the served models, which are all loaded."""
        entries = chat_completions.listed_models(client, cancel)
        sizes = (chat_completions.context_size(entry, "max_model_len") for entry in entries)
        return [
            RemoteModel(entry["id"].line(), size, size, is_loaded=True)
            for entry, size in zip(entries, sizes, strict=True)
        ]

    def find_model(self, client: ServerClient, name: str, cancel: Cancel) -> RemoteModel:
        """Return a served model; see ServerApi.find_model."""
        return chat_completions.pick_model(self.models(client, cancel), name, self.name)

    def chat_request(
        self,
        model: RemoteModel,
        messages: Sequence[Message],
        options: GenerationOptions,
        context_size: int,  # noqa: ARG002 - it is set when the server starts
    ) -> AnswerRequest:
        """Return the request for an answer; see ServerApi.chat_request."""
        sampling = _sampling(options)
        if require_continuable(self, messages):
            sampling |= {"continue_final_message": True, "add_generation_prompt": False}
        sampling |= WITHOUT_REASONING if options.thinking_budget == 0 else {}
        body = chat_completions.chat_body(model, message_list(messages), sampling)
        return AnswerRequest(f"{self._base_url}/chat/completions", body, chat_completions.read_chunk)


class VLLMTokens:
    """The token ids of vLLM; see TokenApi."""

    prefills = False

    def __init__(self, base_url: str, root_url: str) -> None:
        self._base_url = base_url
        self._root_url = root_url

    def request(
        self, model: RemoteModel, prompt: Sequence[int], options: GenerationOptions, ends: Sequence[int]
    ) -> AnswerRequest:
        """Return the request for an answer to a prompt of token ids; see TokenApi.request."""
        room = model.context_size - len(prompt) if model.context_size else None
        body = {
            "model": model.name,
            "prompt": list(prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "stop_token_ids": list(ends),
            **_sampling(options),
        }
        if options.max_tokens is None and room is not None:
            body["max_tokens"] = max(room, 1)  # by default, completions end after 16 tokens
        return AnswerRequest(f"{self._base_url}/completions", body, _read_completion)

    def encode(
        self,
        client: ServerClient,
        model: RemoteModel,
        text: str,
        cancel: Cancel,
        *,
        control: bool = False,  # noqa: ARG002 - vLLM always recognizes them
    ) -> list[Token]:
        """Return the tokens of a text; see TokenApi.encode."""
        body = {"model": model.name, "prompt": text, "add_special_tokens": False, "return_token_strs": True}
        answer = checked(client.post(f"{self._root_url}/tokenize", body, cancel), client)
        ids = chat_completions.read_ids(answer["tokens"])
        entries = [item.text() for item in answer["token_strs"].items()]
        byte_level = any(_BYTE_LEVEL.intersection(entry) for entry in entries)
        return [(i, entry_bytes(e, byte_level=byte_level)) for i, e in zip(ids, entries, strict=False)]

    def decode(self, client: ServerClient, model: RemoteModel, ids: Sequence[int], cancel: Cancel) -> str:
        """Return the text of token ids; see TokenApi.decode."""
        body = {"model": model.name, "tokens": list(ids)}
        return checked(client.post(f"{self._root_url}/detokenize", body, cancel), client)["prompt"].text()

    def prompt_ids(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> list[int]:
        """Return the ids of the server's own prompt; see TokenApi.prompt_ids."""
        continues = is_continued(messages)
        body: dict[str, Any] = {
            "model": model.name,
            "messages": message_list(messages),
            "add_generation_prompt": not continues,
            "continue_final_message": continues,
        }
        answer = client.post(f"{self._root_url}/tokenize", body, cancel)
        return list(chat_completions.read_ids(checked(answer, client)["tokens"]))

    def count(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> int:
        """Return the number of tokens of the prompt; see TokenApi.count."""
        return len(self.prompt_ids(client, model, messages, cancel))

    def sent_ids(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> list[int]:
        """Return the ids of the server's own prompt; see TokenApi.sent_ids."""
        return self.prompt_ids(client, model, messages, cancel)

    def chat_template(
        self, _client: ServerClient, _model: RemoteModel, _cancel: Cancel
    ) -> ChatTemplate | None:
        """Return None: vLLM reports its template only with a flag."""
        return None


def _sampling(options: GenerationOptions) -> dict[str, Any]:
    """Return the options under vLLM's names. Its repetition penalty covers all tokens, like a range of 0."""
    covers_all = options.repetition_range in (0, FIELDS["repetition_range"].default)
    return mapped_options(
        options, OPTIONS, VLLM.name, {*REASONING, *(["repetition_range"] if covers_all else [])}
    )


def _read_completion(chunk: Value) -> AnswerPart:
    """Return the part of an answer in a chunk of the completions API."""
    usage = chat_completions.read_usage(chunk.get("usage"))
    choices = chunk.get("choices").tables()
    if not choices:
        return AnswerPart(usage=usage)
    choice = choices[0]
    return AnswerPart(
        choice.get("text").text(),
        ids=chat_completions.read_ids(choice.get("token_ids")),
        finish=chat_completions.finish_reason(choice.get("finish_reason").text()),
        usage=usage,
    )
