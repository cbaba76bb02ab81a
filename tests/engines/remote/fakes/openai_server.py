"""A fake of OpenAI's API. Source: OpenAI's API reference, version 2.3.0 of its OpenAPI document, "Chat"."""

from collections.abc import Iterator
from typing import Any

from tests.engines.remote.fakes.http_server import EVENTS, FakeServer, Fault, Reply, Request, sse
from tests.engines.remote.fakes.model import FakeModel, Generation

CHAT = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "max_completion_tokens",
}
"""The fields of a request that hermes may send."""


class FakeOpenAI(FakeServer):
    """OpenAI's chat completions. An unknown field is an error, as at OpenAI.

    With `calls_tool`, the model calls a tool; with `filters`, a content filter stops it.
    """

    owner = "openai"
    reasoning_field = "reasoning_content"
    fields = CHAT

    def __init__(self, model: FakeModel | None = None, key: str = "", fault: Fault | None = None) -> None:
        super().__init__(key, fault)
        self.model = model or FakeModel()
        self.calls_tool = False
        self.filters = False

    def reply(self, request: Request) -> Reply:
        if request.path == "/v1/models":
            return Reply({"object": "list", "data": [self.entry()]})
        if request.path == "/v1/chat/completions":
            return self.chat(request.body)
        return self.missing(request)

    def missing(self, request: Request) -> Reply:
        """Return the response for an unknown path."""
        return self.error(404, f"Invalid URL ({request.method} {request.path})")

    def entry(self) -> dict[str, Any]:
        """Return the model as the list has it."""
        return {"id": self.model.name, "object": "model", "created": 1, "owned_by": self.owner}

    def error(self, status: int, message: str, code: str | None = None) -> Reply:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return Reply({"error": error}, status)

    def chat(self, body: dict[str, Any]) -> Reply:
        """Return the stream of an answer to messages."""
        if unknown := set(body) - self.fields:
            return self.error(400, f"Unrecognized request argument supplied: {min(unknown)}")
        if body["model"] != self.model.name:
            return self.error(404, f"The model `{body['model']}` does not exist", "model_not_found")
        prompt = self.prompt(body)
        if len(prompt) >= self.model.context_size:
            return self.overflow(len(prompt))
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        generation = self.model.generate(prompt, limit)
        return Reply(kind=EVENTS, pieces=self.chunks(generation, reasons=self.reasons(body)))

    def reasons(self, body: dict[str, Any]) -> bool:
        """Return whether the chat template lets the model reason."""
        return bool(body.get("chat_template_kwargs", {}).get("enable_thinking", True))

    def prompt(self, body: dict[str, Any]) -> list[int]:
        """Return the prompt of a chat request."""
        return self.model.encode(self.model.render(body["messages"]))

    def overflow(self, tokens: int) -> Reply:
        """Return the error for a prompt that is too long."""
        return self.error(
            400,
            f"This model's maximum context length is {self.model.context_size} tokens. However, your "
            f"messages resulted in {tokens} tokens. Please reduce the length of the messages.",
            "context_length_exceeded",
        )

    def chunks(self, generation: Generation, *, reasons: bool = True) -> Iterator[bytes]:
        """Yield the events of a chat completion."""
        yield self.chunk({"role": "assistant", "content": ""})
        for character in self.model.reasoning if reasons else "":
            yield self.chunk({self.reasoning_field: character})
        if self.calls_tool:
            call = {
                "index": 0,
                "id": "call_1",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
            }
            yield self.chunk({"tool_calls": [call]})
            yield self.chunk({}, "tool_calls")
        for text, ids in generation.pieces():
            yield self.chunk({"content": text}, ids=ids)
        yield self.chunk({}, "content_filter" if self.filters else generation.finish)
        yield sse({**self.frame("chat.completion.chunk"), "choices": [], "usage": generation.usage})
        yield sse("[DONE]")

    def chunk(self, delta: dict[str, Any], finish: str | None = None, ids: list[int] | None = None) -> bytes:
        """Return one event; `ids` are those of its text, which OpenAI does not send."""
        del ids
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse({**self.frame("chat.completion.chunk"), "choices": [choice], "usage": None})

    def frame(self, kind: str) -> dict[str, Any]:
        """Return the fields that each event has."""
        return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": self.model.name}
