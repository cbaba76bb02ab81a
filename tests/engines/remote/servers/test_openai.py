"""Tests of OpenAI's API on its fake."""

from typing import Any

import pytest

from hermes_cli.engines.remote.servers.api import RemoteModel
from hermes_cli.engines.remote.servers.openai import OpenAI
from hermes_cli.errors import ContextOverflow, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import QUESTION, chat
from tests.engines.remote.fakes.openai_server import FakeOpenAI


def body_for(base_url: str) -> dict[str, Any]:
    """Return the body of a request."""
    options = GenerationOptions(0.7, 0.9, max_tokens=5, seed=3)
    return {**OpenAI(base_url).chat_request(RemoteModel("m"), QUESTION, options, 0).body}


def test_the_request_has_the_options_that_every_server_has() -> None:
    """OpenAI itself has another name for max_tokens."""
    common = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You are brief."},
            {"role": "user", "content": "Tell me a story."},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 3,
    }
    assert body_for("http://localhost:1/v1") == {**common, "max_tokens": 5}
    assert body_for("https://api.openai.com/v1") == {**common, "max_completion_tokens": 5}


@pytest.mark.parametrize(
    "options",
    [GenerationOptions(top_k=7), GenerationOptions(min_p=0.2), GenerationOptions(repetition_penalty=1.3)],
)
def test_an_option_that_openai_does_not_have_is_refused(options: GenerationOptions) -> None:
    """One that is off is not: it has no effect."""
    with FakeOpenAI() as fake:
        with pytest.raises(UsageError, match="the OpenAI API does not support"):
            chat(fake, "openai", options=options)
        off = GenerationOptions(top_k=0, min_p=0, repetition_penalty=1, repetition_range=7, max_tokens=3)
        assert chat(fake, "openai", options=off)


def test_a_prompt_that_is_too_long_is_an_overflow() -> None:
    """The numbers are those of the server's message."""
    with FakeOpenAI() as fake, pytest.raises(ContextOverflow) as caught:
        chat(fake, "openai", (Message(Role.USER, "word " * 500),))
    assert caught.value.context_size == 1024
    assert caught.value.prompt_tokens > 2500
