"""Tests of Ollama's API on its fake."""

from collections.abc import Iterator

import pytest

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.servers.api import RemoteModel
from hermes_cli.errors import ContextOverflow, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import api_of, chat, client_of
from tests.engines.remote.fakes.ollama import FakeOllama

LONG = (Message(Role.USER, "word " * 500),)


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    """A running fake."""
    with FakeOllama() as server:
        yield server


def test_a_model_may_be_named_without_its_tag(fake: FakeOllama) -> None:
    """It has the longest context window that it supports."""
    api, client = api_of(fake, "ollama"), client_of(fake)
    assert [model.name for model in api.models(client, Cancel())] == ["openhermes:latest"]
    assert api.find_model(client, "openhermes", Cancel()) == RemoteModel("openhermes", max_context_size=8192)


def test_the_request_sets_the_context_window_and_does_not_permit_to_cut_the_prompt(fake: FakeOllama) -> None:
    """Every option has Ollama's name."""
    options = GenerationOptions(0.7, 0.9, 20, 0.1, 1.2, 0, max_tokens=5, seed=3)
    chat(fake, "ollama", options=options, context_size=2048)
    body = fake.requests[-1].body
    assert (body["truncate"], body["shift"], body["stream"]) == (False, False, True)
    assert body["messages"][0] == {"role": "system", "content": "You are brief."}
    assert body["options"] == {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "repeat_last_n": 2048,
        "num_predict": 5,
        "seed": 3,
        "num_ctx": 2048,
    }
    chat(fake, "ollama", options=GenerationOptions(), context_size=300)
    assert fake.requests[-1].body["options"]["num_predict"] == -1


@pytest.mark.parametrize(
    "options", [GenerationOptions(dry_multiplier=1), GenerationOptions(xtc_probability=1)]
)
def test_an_option_that_ollama_does_not_have_is_refused(fake: FakeOllama, options: GenerationOptions) -> None:
    """Before anything is generated."""
    with pytest.raises(UsageError, match="Ollama does not support"):
        chat(fake, "ollama", options=options)


def test_a_prompt_that_is_too_long_is_an_overflow(fake: FakeOllama) -> None:
    """The error is JSON text in Ollama's own error."""
    with pytest.raises(ContextOverflow) as caught:
        chat(fake, "ollama", LONG, context_size=1024)
    assert caught.value.context_size == 1024
    assert caught.value.prompt_tokens > 2500


def test_an_old_version_that_cuts_the_prompt_reports_fewer_tokens(fake: FakeOllama) -> None:
    """The status is 200, so that only the count tells it."""
    fake.cuts_prompts = True
    parts = chat(fake, "ollama", LONG, context_size=1024)
    usage = next(part.usage for part in parts if part.usage)
    assert usage.prompt_tokens == 512
