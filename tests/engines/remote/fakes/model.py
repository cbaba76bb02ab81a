"""The model of the fakes. It speaks ChatML; each character is one token, and each control token one more."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hermes_cli.engines.base import common_prefix

CONTROL = {"<|im_start|>": 1, "<|im_end|>": 2}
FIRST_CHARACTER = 10
THINK = {"<think>": 3, "</think>": 4}
STORY = "Once upon a time there was a story. "


@dataclass
class FakeModel:
    """A model that gives the prepared answers in order, and after the last one an endless story.

    `reasoning` precedes each answer, if the server separates it. `control` are the control tokens; a model
    with those of THINK writes them in its answers.
    """

    name: str = "hermes"
    context_size: int = 1024
    answers: list[str] = field(default_factory=list)
    reasoning: str = ""
    cache: list[int] = field(default_factory=list)
    control: dict[str, int] = field(default_factory=lambda: CONTROL)

    def encode(self, text: str, *, control: bool = True) -> list[int]:
        """Return the ids of a text. With `control`, its control tokens are recognized."""
        return self._encode(text, self.control if control else {})

    def encode_answer(self, text: str) -> list[int]:
        """Return the ids of an answer, in which only the marks of its reasoning are control tokens."""
        return self._encode(text, {mark: i for mark, i in self.control.items() if mark in THINK})

    @staticmethod
    def _encode(text: str, control: dict[str, int]) -> list[int]:
        parts = re.split("(" + "|".join(map(re.escape, control)) + ")", text) if control else [text]
        return [
            i
            for part in parts
            for i in ([control[part]] if part in control else [ord(c) + FIRST_CHARACTER for c in part])
        ]

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token."""
        control = {i: text for text, i in self.control.items()}
        return [control.get(i) or chr(i - FIRST_CHARACTER) for i in ids]

    def render(self, messages: Sequence[dict[str, str]], *, continues: bool = False) -> str:
        """Return the prompt for messages, as a chat template makes it: the content is not protected."""
        turns = [f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages]
        if continues:
            return "".join(turns).removesuffix("<|im_end|>\n")
        return "".join(turns) + "<|im_start|>assistant\n"

    def generate(self, prompt: list[int], max_tokens: int | None) -> "Generation":
        """Return an answer to a prompt, which is at most as long as max_tokens and the context allow."""
        room = self.context_size - len(prompt)
        limit = room if max_tokens is None or max_tokens < 0 else min(max_tokens, room)
        cached = common_prefix(prompt, self.cache)
        if self.answers:
            answer = self.answers.pop(0)
            text = answer[:limit]
            finish = "stop" if len(answer) < limit else "length"
        else:
            text, finish = "".join(itertools.islice(itertools.cycle(STORY), limit)), "length"
        # As in a real one, the last generated token has not been evaluated yet.
        self.cache = [*prompt, *self.encode_answer(text)[:-1]]
        return Generation(self, text, finish, len(prompt), min(cached, len(prompt) - 1))


@dataclass
class Generation:
    """An answer, and the numbers of its tokens. The end token counts, too."""

    model: FakeModel
    text: str
    finish: str
    prompt_tokens: int
    cached_tokens: int

    @property
    def completion_tokens(self) -> int:
        return len(self.model.encode_answer(self.text)) + (self.finish == "stop")

    def pieces(self) -> Iterator[tuple[str, list[int]]]:
        """Yield each token's text and id."""
        for token in self.model.encode_answer(self.text):
            yield self.model.texts([token])[0], [token]

    @property
    def usage(self) -> dict[str, Any]:
        """Return the usage as OpenAI writes it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }
