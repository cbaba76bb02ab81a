"""A fake of vLLM. Source: the protocol classes of vLLM 0.11, its documentation, and a running vLLM 0.32.

Unlike vLLM, it refuses fields that it does not know, so that the tests notice them.
"""

from collections.abc import Iterator
from typing import Any

from tests.engines.remote.fakes.http_server import EVENTS, Reply, Request, sse
from tests.engines.remote.fakes.model import CONTROL, Generation
from tests.engines.remote.fakes.openai_server import CHAT, FakeOpenAI

SAMPLING = {"top_k", "min_p", "repetition_penalty"}
COMPLETION = (CHAT - {"messages"}) | SAMPLING | {"prompt", "return_token_ids", "stop_token_ids"}


class FakeVLLM(FakeOpenAI):
    """vLLM with completions of token ids and its tokenizer, which always recognizes control tokens."""

    owner = "vllm"
    reasoning_field = "reasoning"
    fields = CHAT | SAMPLING | {"continue_final_message", "add_generation_prompt", "chat_template_kwargs"}

    def reply(self, request: Request) -> Reply:
        if request.path == "/version":
            return Reply({"version": "0.11.0"})
        if request.path == "/tokenize":
            return self.tokenize(request.body)
        if request.path == "/detokenize":
            return Reply({"prompt": "".join(self.model.texts(request.body["tokens"]))})
        if request.path == "/v1/completions":
            return self.complete(request.body)
        return super().reply(request)

    def missing(self, request: Request) -> Reply:
        del request
        return Reply({"detail": "Not Found"}, 404)

    def error(self, status: int, message: str, code: str | None = None) -> Reply:
        del code
        return Reply({"error": {"message": message, "type": "Error", "param": None, "code": status}}, status)

    def entry(self) -> dict[str, Any]:
        return {**super().entry(), "root": self.model.name, "max_model_len": self.model.context_size}

    def overflow(self, tokens: int) -> Reply:
        return self.error(
            400,
            f"This model's maximum context length is {self.model.context_size} tokens. However, your "
            f"request has {tokens} input tokens. Please reduce the length of the input messages.",
        )

    def prompt(self, body: dict[str, Any]) -> list[int]:
        continues = body.get("continue_final_message", False)
        return self.model.encode(self.model.render(body["messages"], continues=continues))

    def tokenize(self, body: dict[str, Any]) -> Reply:
        """Return the ids of a text, or of the prompt for messages."""
        ids = self.prompt(body) if "messages" in body else self.model.encode(body["prompt"])
        limit = self.model.context_size
        texts = self.model.texts(ids) if body.get("return_token_strs") else None
        return Reply({"count": len(ids), "max_model_len": limit, "tokens": ids, "token_strs": texts})

    def complete(self, body: dict[str, Any]) -> Reply:
        """Return the stream of an answer to token ids."""
        if unknown := set(body) - COMPLETION:
            return self.error(400, f"unknown field {min(unknown)}")
        prompt = body["prompt"]
        if len(prompt) >= self.model.context_size:
            return self.overflow(len(prompt))
        generation = self.model.generate(prompt, body.get("max_tokens", 16))
        return Reply(kind=EVENTS, pieces=self.completion_chunks(generation, prompt))

    def completion_chunks(self, generation: Generation, prompt: list[int]) -> Iterator[bytes]:
        """Yield the events of a completion. The end token has an id, and no text."""
        pieces = [*generation.pieces()]
        if generation.finish == "stop":
            pieces.append(("", [CONTROL["<|im_end|>"]]))
        for number, (text, ids) in enumerate(pieces, 1):
            choice = {
                "index": 0,
                "text": text,
                "logprobs": None,
                "finish_reason": generation.finish if number == len(pieces) else None,
                "stop_reason": None,
                "prompt_token_ids": prompt if number == 1 else None,
                "token_ids": ids,
            }
            yield sse({**self.frame("text_completion"), "choices": [choice]})
        yield sse({**self.frame("text_completion"), "choices": [], "usage": generation.usage})
        yield sse("[DONE]")
