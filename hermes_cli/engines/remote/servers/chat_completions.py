"""OpenAI's chat completions API, which most servers have: its requests, its stream, and its list of models.

Source: OpenAI's API reference, version 2.3.0 of its OpenAPI document, "Chat" and "Models".
"""

from collections.abc import Sequence
from typing import Any, Final

from hermes_cli.engines.base import Cancel, FinishReason, Usage
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers.api import AnswerPart, RemoteModel, checked
from hermes_cli.errors import ServerError, ServerUnavailable
from hermes_cli.options import MAX_CONTEXT, closest
from hermes_cli.untrusted.value import Value

_REASONING_FIELDS: Final = ("reasoning_content", "reasoning")
"""llama-server and DeepSeek write the first, vLLM and LM Studio the second."""
_FINISH_REASONS: Final = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
_FAILURES: Final = {
    "tool_calls": "called a tool, and hermes has none",
    "function_call": "called a tool, and hermes has none",
    "content_filter": "was stopped by the server's content filter",
    "abort": "was stopped by the server",
    "error": "was stopped by an error of the server",
}
SHOWN_NAMES: Final = 5


def chat_body(
    model: RemoteModel, messages: Sequence[dict[str, str]], sampling: dict[str, Any]
) -> dict[str, Any]:
    """Return the body of a streamed chat request that also asks for the usage."""
    return {
        "model": model.name,
        "messages": list(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **sampling,
    }


def read_chunk(chunk: Value) -> AnswerPart:
    """Return the part of an answer in a chunk. The last chunk may have no choices, but the usage."""
    usage = read_usage(chunk.get("usage"))
    choices = chunk.get("choices").tables()
    if not choices:
        return AnswerPart(usage=usage)
    choice = choices[0]
    delta = choice.get("delta").table()
    reasoning = next((text for name in _REASONING_FIELDS if (text := delta.get(name).text())), "")
    reason = choice.get("finish_reason").text()
    if delta.get("tool_calls").value:
        reason = "tool_calls"
    return AnswerPart(
        delta.get("content").text(),
        reasoning,
        read_ids(choice.get("token_ids")),
        finish=finish_reason(reason),
        usage=usage,
    )


def finish_reason(reason: str) -> FinishReason | None:
    """Return why an answer ended, or None for "". Raises ServerError if it cannot be used."""
    if reason in _FAILURES:
        raise ServerError(f"the answer {_FAILURES[reason]}", "try again")
    return _FINISH_REASONS.get(reason, FinishReason.STOP) if reason else None


def read_ids(value: Value) -> tuple[int, ...]:
    """Return a list of token ids; it may be missing."""
    return tuple(item.integer(0, 2**31 - 1) for item in value.items()) if value.value else ()


def read_usage(usage: Value) -> Usage | None:
    """Return the token counts, or None if there are none."""
    if usage.value is None:
        return None
    cached = usage.get("prompt_tokens_details").table().get("cached_tokens")
    prompt = usage.get("prompt_tokens").integer(0, MAX_CONTEXT)
    return Usage(
        prompt,
        usage.get("completion_tokens").integer(0, MAX_CONTEXT),
        min(cached.integer(0, MAX_CONTEXT), prompt),
    )


def listed_models(client: ServerClient, cancel: Cancel) -> list[Value]:
    """Return the entries of the list of models."""
    body = client.get(f"{client.address.base_url}/models", cancel)
    return checked(body, client)["data"].tables()


def context_size(entry: Value, *names: str) -> int | None:
    """Return the first of these values of an entry that is a size of a context window."""
    sizes = (entry.get(name).integer_or_none(0, MAX_CONTEXT) for name in names)
    return next((size for size in sizes if size), None)


def pick_model(
    models: Sequence[RemoteModel], name: str, where: str, if_none: str = "it has no models"
) -> RemoteModel:
    """Return the model with that name. Raises ServerUnavailable, which suggests a similar name.

    `if_none` is the hint if there are no models.
    """
    for model in models:
        if model.name == name:
            return model
    hint = models_hint([model.name for model in models], name) or if_none
    raise ServerUnavailable(f"{where} has no model '{name}'", hint)


def models_hint(names: Sequence[str], name: str) -> str:
    """Return the hint for a missing model: a similar name or the first ones. Without names, return ""."""
    if near := closest(name, names):
        return f"did you mean '{near}'?"
    shown = ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")
    return f"its models are {shown}" if names else ""
