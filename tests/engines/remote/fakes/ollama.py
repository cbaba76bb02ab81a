"""A fake of Ollama. Source: docs/api.md and api/types.go of Ollama 0.40.

The error for a long prompt is that of 0.40; 0.12.5 and earlier cut it, whatever the request says.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.engines.remote.fakes.http_server import NDJSON, FakeServer, Fault, Reply, Request, line
from tests.engines.remote.fakes.model import FakeModel, Generation

TIME = "2026-11-29T08:52:19.385406455-07:00"


class FakeOllama(FakeServer):
    """Ollama's own API. With `cuts_prompts`, it is an old version that cuts long prompts.

    With `calls_tool`, the model calls a tool. `fails_after` ends the stream with an error. `others` are
    the names of other models that are listed.
    """

    def __init__(self, model: FakeModel | None = None, key: str = "", fault: Fault | None = None) -> None:
        super().__init__(key, fault)
        self.model = model or FakeModel("openhermes:latest")
        self.cuts_prompts = False
        self.calls_tool = False
        self.fails_after: int | None = None
        self.is_loaded = False
        self.others: list[str] = []

    def reply(self, request: Request) -> Reply:
        names = [self.model.name, *self.others]
        lists = {
            "/api/version": {"version": "0.40.0"},
            "/api/tags": {"models": [{"name": name, "model": name, "size": 1} for name in names]},
            "/api/ps": {"models": [self.running_entry()] if self.is_loaded else []},
            "/v1/models": {"object": "list", "data": [{"id": n, "owned_by": "library"} for n in names]},
        }
        if request.path in lists:
            return Reply(lists[request.path])
        if request.path == "/api/show":
            return self.show(request.body["model"])
        if request.path == "/api/chat":
            return self.chat(request.body)
        return Reply(b"404 page not found", 404, "text/plain")

    def error(self, status: int, message: str) -> Reply:
        return Reply({"error": message}, status)

    def has(self, name: str) -> bool:
        """Return whether a name is that of the model; the tag `latest` may be left out."""
        return self.model.name in {name, f"{name}:latest"}

    def running_entry(self) -> dict[str, Any]:
        """Return the loaded model as the list of loaded models has it."""
        name, size = self.model.name, self.model.context_size
        return {"name": name, "model": name, "size": 1, "size_vram": 1, "context_length": size}

    def show(self, name: str) -> Reply:
        """Return the details of a model."""
        if not self.has(name):
            return self.error(404, f"model '{name}' not found")
        info = {"general.architecture": "llama", "llama.context_length": 8192}
        return Reply({"model_info": info, "capabilities": ["completion"], "details": {"format": "gguf"}})

    def chat(self, body: dict[str, Any]) -> Reply:
        """Return the stream of an answer to messages."""
        if not self.has(body["model"]):
            return self.error(404, f"model '{body['model']}' not found")
        messages, options = body["messages"], body["options"]
        self.model.context_size = options["num_ctx"]
        continues = messages[-1]["role"] == "assistant"
        prompt = self.model.encode(self.model.render(messages, continues=continues))
        if len(prompt) >= self.model.context_size:
            if not self.cuts_prompts and body.get("truncate") is False:
                return self.overflow(len(prompt))
            prompt = prompt[-(self.model.context_size // 2) :]
        generation = self.model.generate(prompt, options["num_predict"])
        return Reply(kind=NDJSON, pieces=self.lines(generation, reasons=body.get("think", True)))

    def overflow(self, tokens: int) -> Reply:
        """Return the error of the server that Ollama runs, as JSON text in its own error."""
        limit = self.model.context_size
        message = f"request ({tokens} tokens) exceeds the available context size ({limit} tokens)"
        error = {"code": 400, "message": message, "type": "exceed_context_size_error"}
        return self.error(400, json.dumps({"error": {**error, "n_prompt_tokens": tokens, "n_ctx": limit}}))

    def lines(self, generation: Generation, *, reasons: bool = True) -> Iterator[bytes]:
        """Yield the lines of an answer."""
        for character in self.model.reasoning if reasons else "":
            yield self.part({"content": "", "thinking": character})
        if self.calls_tool:
            call = {"function": {"name": "f", "arguments": {}}}
            yield self.part({"content": "", "tool_calls": [call]})
        for number, (text, _) in enumerate(generation.pieces()):
            if number == self.fails_after:
                yield line({"error": "an error was encountered while running the model"})
                return
            yield self.part({"content": text})
        yield line(
            {
                "model": self.model.name,
                "created_at": TIME,
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": generation.finish,
                "total_duration": 4883583458,
                "load_duration": 1334875,
                "prompt_eval_count": generation.prompt_tokens,
                "prompt_eval_duration": 342546000,
                "eval_count": generation.completion_tokens,
                "eval_duration": 4535599000,
            }
        )

    def part(self, message: dict[str, Any]) -> bytes:
        """Return one line with a part of the message."""
        body = {"model": self.model.name, "created_at": TIME, "done": False}
        return line({**body, "message": {"role": "assistant", **message}})
