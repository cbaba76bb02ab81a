"""A model of the fakes with a real tokenizer.json and a real chat template.

The libraries `tokenizers` and `jinja2` count its prompts, as vLLM does it; no code of hermes is used.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from tests.engines.remote.fakes.model import FakeModel


def _raise(message: str) -> None:
    raise ValueError(message)


@dataclass
class TokenizerModel(FakeModel):
    """A model that answers like FakeModel. `prefix` are ids that its server adds to each prompt."""

    tokenizer_json: str = ""
    template: str = ""
    special_tokens: dict[str, str] = field(default_factory=dict)
    prefix: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec = json.loads(self.tokenizer_json)
        self._tokenizer: Any = Tokenizer.from_str(json.dumps({**spec, "post_processor": None}))
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _raise
        self._template = environment.from_string(self.template)

    def encode(self, text: str, *, control: bool = True) -> list[int]:
        assert control, "the fake of vLLM always recognizes control tokens"
        return [*self.prefix, *self.encode_answer(text)]

    def encode_answer(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def texts(self, ids: Sequence[int]) -> list[str]:
        return [self._tokenizer.decode([i], skip_special_tokens=False) for i in ids]

    def render(self, messages: Sequence[dict[str, str]], *, continues: bool = False) -> str:
        assert not continues, "no test continues a message of this model"
        return self._template.render(
            messages=list(messages), add_generation_prompt=True, **self.special_tokens
        )
