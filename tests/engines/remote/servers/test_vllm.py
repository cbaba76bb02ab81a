"""Tests of vLLM's API on its fake."""

from collections.abc import Iterator

import pytest

from hermes_cli.engines.base import Cancel, FinishReason
from hermes_cli.engines.remote.servers.api import RemoteModel, TokenApi
from hermes_cli.errors import ContextOverflow, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import QUESTION, api_of, chat, client_of, parts_of, text_of
from tests.engines.remote.fakes.vllm import FakeVLLM

MODEL = RemoteModel("hermes", 1024, 1024, is_loaded=True)


@pytest.fixture
def fake() -> Iterator[FakeVLLM]:
    """A running fake."""
    with FakeVLLM() as server:
        yield server


def tokens_of(fake: FakeVLLM) -> TokenApi:
    """Return the API of the token ids."""
    tokens = api_of(fake, "vllm").tokens
    assert tokens is not None
    return tokens


def test_a_model_has_its_context_window(fake: FakeVLLM) -> None:
    """It is max_model_len."""
    assert api_of(fake, "vllm").find_model(client_of(fake), "hermes", Cancel()) == MODEL


def test_a_prompt_of_ids_is_sent_as_it_is(fake: FakeVLLM) -> None:
    """The answer has text and ids, also that of the end token, which has no text."""
    fake.model.answers = ["Hi."]
    request = tokens_of(fake).request(MODEL, [100, 101], GenerationOptions(), (2,))
    parts = parts_of(fake, request)
    body = fake.requests[-1].body
    assert (body["prompt"], body["stop_token_ids"], body["max_tokens"]) == ([100, 101], [2], 1022)
    assert text_of(parts) == "Hi."
    assert [i for part in parts for i in part.ids] == [*fake.model.encode("Hi."), 2]
    assert [part.finish for part in parts if part.finish] == [FinishReason.STOP]
    usage = parts[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (2, 4)


def test_every_option_has_vllms_name(fake: FakeVLLM) -> None:
    """Its repetition penalty covers the whole context."""
    options = GenerationOptions(0.7, 0.9, 20, 0.1, 1.2, 0, max_tokens=5, seed=3)
    parts_of(fake, tokens_of(fake).request(MODEL, [100], options, ()))
    expected = {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "max_tokens": 5,
        "seed": 3,
    }
    body = fake.requests[-1].body
    assert {name: body[name] for name in expected} == expected
    assert "repetition_range" not in body


@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(dry_multiplier=0.8),
        GenerationOptions(xtc_probability=0.5),
        GenerationOptions(repetition_range=64),
    ],
)
def test_an_option_that_vllm_does_not_have_is_refused(fake: FakeVLLM, options: GenerationOptions) -> None:
    """Nothing is sent."""
    with pytest.raises(UsageError, match="vLLM does not support '"):
        tokens_of(fake).request(MODEL, [100], options, ())


def test_the_tokens_of_text_and_messages_are_counted(fake: FakeVLLM) -> None:
    """A continued message has no end token."""
    tokens, client = tokens_of(fake), client_of(fake)
    encoded = tokens.encode(client, MODEL, "a<|im_end|>", Cancel())
    assert encoded == [(fake.model.encode("a")[0], b"a"), (2, b"<|im_end|>")]
    assert tokens.decode(client, MODEL, [i for i, _ in encoded], Cancel()) == "a<|im_end|>"
    count = tokens.count(client, MODEL, QUESTION, Cancel())
    assert next(part.usage for part in chat(fake, "vllm") if part.usage).prompt_tokens == count
    continued = (*QUESTION, Message(Role.ASSISTANT, "Once"))
    assert tokens.count(client, MODEL, continued, Cancel()) == count + len("Once")


def test_a_prompt_that_is_too_long_is_an_overflow(fake: FakeVLLM) -> None:
    """The numbers are those of the server."""
    with pytest.raises(ContextOverflow) as caught:
        parts_of(fake, tokens_of(fake).request(MODEL, [100] * 2000, GenerationOptions(), ()))
    assert (caught.value.prompt_tokens, caught.value.context_size) == (2000, 1024)
