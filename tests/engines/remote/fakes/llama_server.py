"""A fake of llama-server. Source: tools/server/README.md of llama.cpp, build b7000 and later."""

from collections.abc import Iterator
from typing import Any

from tests.engines.remote.fakes.http_server import EVENTS, Reply, Request, sse
from tests.engines.remote.fakes.model import CONTROL, Generation
from tests.engines.remote.fakes.openai_server import CHAT, FakeOpenAI

BATCH = 64
"""The prompt tokens between two reports of progress."""


class FakeLlamaServer(FakeOpenAI):
    """llama-server with one model. It ignores unknown fields."""

    owner = "llamacpp"
    fields = CHAT | {"chat_template_kwargs"}

    def reply(self, request: Request) -> Reply:
        routes = {
            "/tokenize": self.tokenize,
            "/detokenize": self.detokenize,
            "/apply-template": lambda body: Reply({"prompt": self.template(body["messages"])}),
            "/completion": self.complete,
        }
        if request.path == "/props":
            return Reply(self.props())
        if request.path in routes:
            return routes[request.path](request.body)
        return super().reply(request)

    def missing(self, request: Request) -> Reply:
        del request
        return self.error(404, "File Not Found", "not_found_error")

    def error(self, status: int, message: str, code: str | None = None) -> Reply:
        return Reply({"error": {"code": status, "message": message, "type": code or "server_error"}}, status)

    def entry(self) -> dict[str, Any]:
        return {**super().entry(), "meta": {"n_vocab": 32002, "n_ctx_train": 8192, "size": 1}}

    def props(self) -> dict[str, Any]:
        """Return the properties of the server."""
        return {
            "default_generation_settings": {"id": 0, "n_ctx": self.model.context_size, "params": {}},
            "total_slots": 1,
            "model_path": "/models/hermes.gguf",
            "chat_template": "{{ messages }}",
            "build_info": "b7000-abc",
        }

    def overflow(self, tokens: int) -> Reply:
        limit = self.model.context_size
        message = f"request ({tokens} tokens) exceeds the available context size ({limit} tokens)"
        error = {"code": 400, "message": message, "type": "exceed_context_size_error"}
        return Reply({"error": {**error, "n_prompt_tokens": tokens, "n_ctx": limit}}, 400)

    def template(self, messages: list[dict[str, str]]) -> str:
        """Return the prompt; the last message is continued if it is the assistant's."""
        return self.model.render(messages, continues=messages[-1]["role"] == "assistant")

    def prompt(self, body: dict[str, Any]) -> list[int]:
        return self.model.encode(self.template(body["messages"]))

    def chat(self, body: dict[str, Any]) -> Reply:
        return super().chat({name: value for name, value in body.items() if name in self.fields})

    def tokenize(self, body: dict[str, Any]) -> Reply:
        """Return the ids of a text, or its ids and pieces."""
        ids = self.model.encode(body["content"], control=body.get("parse_special", True))
        if not body.get("with_pieces"):
            return Reply({"tokens": ids})
        texts = zip(ids, self.model.texts(ids), strict=True)
        return Reply({"tokens": [{"id": i, "piece": text} for i, text in texts]})

    def detokenize(self, body: dict[str, Any]) -> Reply:
        """Return the text of ids."""
        return Reply({"content": "".join(self.model.texts(body["tokens"]))})

    def complete(self, body: dict[str, Any]) -> Reply:
        """Return the stream of an answer to token ids."""
        prompt = body["prompt"]
        if len(prompt) >= self.model.context_size:
            return self.overflow(len(prompt))
        generation = self.model.generate(prompt, body.get("n_predict", -1))
        return Reply(kind=EVENTS, pieces=self.events(generation, reports=body.get("return_progress", False)))

    def events(self, generation: Generation, *, reports: bool) -> Iterator[bytes]:
        """Yield the events of a completion."""
        total, cached = generation.prompt_tokens, generation.cached_tokens
        for done in range(cached, total, BATCH) if reports else ():
            progress = {"total": total, "cache": cached, "processed": done, "time_ms": 1}
            yield sse({"index": 0, "content": "", "tokens": [0], "stop": False, "prompt_progress": progress})
        for number, (text, ids) in enumerate(generation.pieces(), 1):
            counts = {"id_slot": -1, "tokens_predicted": number, "tokens_evaluated": total}
            yield sse({"index": 0, "content": text, "tokens": ids, "stop": False, **counts})
        if generation.finish == "stop":  # as build b11549 does
            counts = {"tokens_predicted": generation.completion_tokens, "tokens_evaluated": total}
            end = {"index": 0, "content": "", "tokens": [CONTROL["<|im_end|>"]], "stop": False}
            yield sse({**end, "id_slot": -1, **counts})
        yield sse(
            {
                "index": 0,
                "content": "",
                "tokens": [],
                "stop": True,
                "model": self.model.name,
                "tokens_predicted": generation.completion_tokens,
                "tokens_evaluated": total,
                "truncated": False,
                "stop_type": {"stop": "eos", "length": "limit"}[generation.finish],
                "stopping_word": "",
                "tokens_cached": total,
                "timings": {"cache_n": cached, "prompt_n": total - cached},
            }
        )
