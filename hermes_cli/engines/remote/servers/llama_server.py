"""llama-server of llama.cpp: completions of token ids, its tokenizer, and OpenAI's chat API.

Source: tools/server/README.md of llama.cpp (build b7000 and later).
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from hermes_cli.engines.base import Cancel, FinishReason, Progress, Usage
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
from hermes_cli.options import MAX_CONTEXT, GenerationOptions
from hermes_cli.prompts.chat_template import ChatTemplate
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
MAX_ID: Final = 2**31 - 1


class LlamaServer:
    """llama-server. It serves one model, or several as a router."""

    kind = "llama-server"
    name = "llama-server"
    cannot_continue = ""
    can_exclude_reasoning = True
    keeps_models = True
    if_no_models = ""
    options: Collection[str] = frozenset({*OPTIONS, *REASONING, "max_tokens"})

    def __init__(self, base_url: str, root_url: str) -> None:
        self._base_url = base_url
        self._root_url = root_url
        self.tokens: TokenApi | None = LlamaTokens(root_url)

    def recognizes(self, client: ServerClient, cancel: Cancel) -> bool:
        """Return whether the server has llama-server's properties."""
        body = client.probe(f"{self._root_url}/props", cancel)
        return isinstance(body, dict) and "default_generation_settings" in body

    def version(self, client: ServerClient, cancel: Cancel) -> str:
        """Return the version; see ServerApi.version."""
        return version_in(client.probe(f"{self._root_url}/props", cancel), "build_info")

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
        sampling |= WITHOUT_REASONING if options.thinking_budget == 0 else {}
        body = chat_completions.chat_body(model, message_list(messages), sampling)
        return AnswerRequest(f"{self._base_url}/chat/completions", body, chat_completions.read_chunk)


class LlamaTokens:
    """The token ids of llama-server; see TokenApi."""

    prefills = True

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
    ) -> list[Token]:
        """Return the tokens of a text; see TokenApi.encode."""
        return self._tokenize(client, model, text, cancel, parse_special=control, with_pieces=True)

    def decode(self, client: ServerClient, model: RemoteModel, ids: Sequence[int], cancel: Cancel) -> str:
        """Return the text of token ids; see TokenApi.decode."""
        body = {"model": model.name, "tokens": list(ids)}
        return checked(client.post(f"{self._root_url}/detokenize", body, cancel), client)["content"].text()

    def prompt_ids(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> list[int]:
        """Return the ids of the server's own prompt; see TokenApi.prompt_ids."""
        prompt = self._rendered(client, model, messages, cancel)
        return [i for i, _ in self._tokenize(client, model, prompt, cancel, parse_special=True)]

    def count(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> int:
        """Return the number of tokens of the prompt; see TokenApi.count."""
        return len(self.sent_ids(client, model, messages, cancel))

    def sent_ids(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> list[int]:
        """Return the ids of the server's own prompt, with the BOS that its tokenizer adds."""
        prompt = self._rendered(client, model, messages, cancel)
        tokens = self._tokenize(client, model, prompt, cancel, parse_special=True, add_special=True)
        return [i for i, _ in tokens]

    def chat_template(self, client: ServerClient, _model: RemoteModel, cancel: Cancel) -> ChatTemplate | None:
        """Return the template that the server reports; see TokenApi.chat_template."""
        props = checked(client.get(f"{self._root_url}/props", cancel), client)
        names = ("bos_token", "eos_token")
        special = {name: text for name in names if (text := props.get(name).text())}
        source = props.get("chat_template").text()
        return ChatTemplate(source, special) if source else None

    def _rendered(
        self, client: ServerClient, model: RemoteModel, messages: Sequence[Message], cancel: Cancel
    ) -> str:
        body: dict[str, Any] = {"model": model.name, "messages": message_list(messages)}
        answer = client.post(f"{self._root_url}/apply-template", body, cancel)
        return checked(answer, client)["prompt"].text()

    def _tokenize(
        self, client: ServerClient, model: RemoteModel, text: str, cancel: Cancel, **settings: bool
    ) -> list[Token]:
        """Return the tokens of a text. They have no bytes unless the settings request pieces."""
        body: dict[str, Any] = {"model": model.name, "content": text, **settings}
        answer = checked(client.post(f"{self._root_url}/tokenize", body, cancel), client)
        if not settings.get("with_pieces"):
            return [(i, b"") for i in chat_completions.read_ids(answer["tokens"])]
        return [
            (token["id"].integer(0, MAX_ID), _piece_bytes(token["piece"]))
            for token in answer["tokens"].tables()
        ]


def _piece_bytes(piece: Value) -> bytes:
    """Return the bytes of a token, which is a list of numbers if it is not valid text."""
    if isinstance(piece.value, list):
        return bytes(item.integer(0, 255) for item in piece.items())
    return piece.text().encode(errors="replace")


def _sampling(options: GenerationOptions, context_size: int) -> dict[str, Any]:
    """Return the options under llama.cpp's names."""
    sampling = mapped_options(options, OPTIONS, LlamaServer.name, {"max_tokens", *REASONING})
    # In llama.cpp, 0 disables the penalty.
    sampling["repeat_last_n"] = min(options.repetition_range or context_size, context_size)
    sampling["dry_penalty_last_n"] = context_size
    sampling["samplers"] = list(SAMPLERS)
    sampling.setdefault("seed", -1)
    return sampling


def _read_completion(event: Value) -> AnswerPart:
    """Return the part of an answer in an event of the completion API."""
    progress = event.get("prompt_progress")
    if progress.value is not None:  # the event's `tokens` are [0], and have no meaning
        names = ("cache", "processed", "total")
        cached, done, total = (progress[name].integer(0, MAX_CONTEXT) for name in names)
        return AnswerPart(progress=Progress(max(done - cached, 0), max(total - cached, 0)))
    ids = chat_completions.read_ids(event.get("tokens"))
    text = event.get("content").text()
    generated = event.get("tokens_predicted").integer(0, MAX_CONTEXT)
    if not event.get("stop").boolean():
        return AnswerPart(text, ids=ids, generated=generated)
    is_cut = event.get("stop_type").text() == "limit" or event.get("truncated").boolean()
    finish = FinishReason.LENGTH if is_cut else FinishReason.STOP
    prompt = event.get("tokens_evaluated").integer(0, MAX_CONTEXT)
    cached = event.get("timings").table().get("cache_n").integer(0, MAX_CONTEXT)
    usage = Usage(prompt, generated, min(cached, prompt))
    return AnswerPart(text, ids=ids, generated=generated, finish=finish, usage=usage)
