"""Tests of llama-server's API on its fake."""

from collections.abc import Iterator

import pytest

from hermes_cli.engines.base import Cancel, FinishReason, Progress
from hermes_cli.engines.remote.servers.api import RemoteModel, TokenApi
from hermes_cli.errors import ContextOverflow
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import QUESTION, api_of, chat, client_of, parts_of, text_of
from tests.engines.remote.fakes.llama_server import FakeLlamaServer

MODEL = RemoteModel("hermes", 1024, 8192, is_loaded=True)
ALL = GenerationOptions(
    temperature=0.7,
    top_p=0.9,
    top_k=20,
    min_p=0.1,
    repetition_penalty=1.2,
    repetition_range=0,
    max_tokens=5,
    seed=3,
    dry_multiplier=0.8,
    xtc_probability=0.5,
)


@pytest.fixture
def fake() -> Iterator[FakeLlamaServer]:
    """A running fake."""
    with FakeLlamaServer() as server:
        yield server


def tokens_of(fake: FakeLlamaServer) -> TokenApi:
    """Return the API of the token ids."""
    tokens = api_of(fake, "llama-server").tokens
    assert tokens is not None
    return tokens


def test_a_model_has_its_context_window(fake: FakeLlamaServer) -> None:
    """That of the server, and that of the training."""
    assert api_of(fake, "llama-server").find_model(client_of(fake), "hermes", Cancel()) == MODEL


def test_a_prompt_of_ids_is_sent_as_it_is(fake: FakeLlamaServer) -> None:
    """The answer has text and ids, and the counts of the server; the second time, the prompt is cached."""
    prompt = list(range(100, 300))
    request = tokens_of(fake).request(MODEL, prompt, GenerationOptions(max_tokens=4), ())
    parts = parts_of(fake, request)
    assert fake.requests[-1].body["prompt"] == prompt
    assert text_of(parts) == "Once"
    assert [i for part in parts for i in part.ids] == fake.model.encode("Once")
    assert [part.progress for part in parts if part.progress][:2] == [Progress(0, 200), Progress(64, 200)]
    assert [part.finish for part in parts if part.finish] == [FinishReason.LENGTH]
    usage = parts_of(fake, request)[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.cached_tokens, usage.prefilled_tokens) == (200, 199, 1)


def test_every_option_has_llama_cpps_name(fake: FakeLlamaServer) -> None:
    """A range of 0 is the whole context, and the order of the samplers is that of hermes."""
    parts_of(fake, tokens_of(fake).request(MODEL, [100], ALL, ()))
    body = fake.requests[-1].body
    expected = {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "repeat_last_n": 1024,
        "n_predict": 5,
        "seed": 3,
        "dry_multiplier": 0.8,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.1,
        "samplers": ["penalties", "dry", "top_k", "top_p", "min_p", "xtc", "temperature"],
    }
    assert {name: body[name] for name in expected} == expected
    chat(fake, "llama-server", options=ALL)
    assert fake.requests[-1].body["max_tokens"] == 5


def test_text_is_encoded_without_control_tokens(fake: FakeLlamaServer) -> None:
    """With `control`, they are recognized."""
    tokens, client = tokens_of(fake), client_of(fake)
    assert tokens.encode(client, MODEL, "<|im_end|>", Cancel(), control=True) == [(2, b"<|im_end|>")]
    ordinary = tokens.encode(client, MODEL, "<|im_end|>", Cancel())
    assert b"".join(data for _, data in ordinary) == b"<|im_end|>"
    assert len(ordinary) == len("<|im_end|>")
    assert tokens.decode(client, MODEL, [i for i, _ in ordinary], Cancel()) == "<|im_end|>"


def test_the_tokens_of_messages_are_counted(fake: FakeLlamaServer) -> None:
    """The count is that of the prompt which the server makes."""
    count = tokens_of(fake).count(client_of(fake), MODEL, QUESTION, Cancel())
    usage = next(part.usage for part in chat(fake, "llama-server") if part.usage)
    assert usage.prompt_tokens == count


def test_a_prompt_that_is_too_long_is_an_overflow(fake: FakeLlamaServer) -> None:
    """The numbers are those of the server."""
    with pytest.raises(ContextOverflow) as caught:
        parts_of(fake, tokens_of(fake).request(MODEL, [100] * 2000, GenerationOptions(), ()))
    assert (caught.value.prompt_tokens, caught.value.context_size) == (2000, 1024)
