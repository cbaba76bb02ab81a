"""A fake of LM Studio. Source: its documentation of 0.4, "Chat Completions" and "REST API v0".

That an unknown endpoint has status 200 is from reports of its users.
"""

from typing import Any

from tests.engines.remote.fakes.http_server import Reply, Request
from tests.engines.remote.fakes.openai_server import FakeOpenAI


class FakeLMStudio(FakeOpenAI):
    """LM Studio's OpenAI endpoints and list of models. It ignores unknown fields and cuts long prompts."""

    owner = "organization_owner"
    reasoning_field = "reasoning"

    def reply(self, request: Request) -> Reply:
        if request.path == "/api/v0/models":
            return Reply({"object": "list", "data": [self.loaded_entry(), self.embedding_entry()]})
        return super().reply(request)

    def missing(self, request: Request) -> Reply:
        return Reply({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})

    def loaded_entry(self) -> dict[str, Any]:
        """Return the model as the list of LM Studio has it."""
        return {
            "id": self.model.name,
            "object": "model",
            "type": "llm",
            "publisher": "lmstudio-community",
            "arch": "llama",
            "compatibility_type": "gguf",
            "quantization": "Q4_K_M",
            "state": "loaded",
            "max_context_length": 32768,
            "loaded_context_length": self.model.context_size,
        }

    def embedding_entry(self) -> dict[str, Any]:
        """Return a model that generates no text."""
        return {**self.loaded_entry(), "id": "embedder", "type": "embeddings", "state": "not-loaded"}

    def chat(self, body: dict[str, Any]) -> Reply:
        return super().chat({name: value for name, value in body.items() if name in self.fields})

    def prompt(self, body: dict[str, Any]) -> list[int]:
        return super().prompt(body)[-(self.model.context_size - 1) :]
