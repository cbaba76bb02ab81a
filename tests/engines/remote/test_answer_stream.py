"""Tests of the stream of an answer, on a fake of each kind of server."""

import threading
import time
from collections.abc import Iterator

import pytest

from hermes_cli.engines.base import Cancel, FinishReason, RequestCancelled, Usage
from hermes_cli.engines.remote.answer_stream import answer_parts
from hermes_cli.engines.remote.client import ClientSettings
from hermes_cli.errors import HermesError, KeyRefused, ServerBusy, ServerError, ServerUnavailable, UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import (
    CANCEL_S,
    FAKES,
    FAST,
    IMPATIENT,
    QUESTION,
    SHORT,
    api_of,
    chat,
    client_of,
    text_of,
)
from tests.engines.remote.fakes.http_server import EVENTS, NDJSON, Fault, Reply, gzip_bomb
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.remote.fakes.ollama import FakeOllama
from tests.engines.remote.fakes.openai_server import FakeOpenAI

Fake = FakeOpenAI | FakeOllama
CHAT_PATHS = {"ollama": "/api/chat"}
CHATML = "<|im_start|>system\nYou are brief.<|im_end|>\n<|im_start|>user\nTell me a story.<|im_end|>\n"


@pytest.fixture(params=FAKES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn."""
    return str(request.param)


@pytest.fixture
def fake(kind: str) -> Iterator[Fake]:
    """A fake of that kind."""
    with FAKES[kind]() as server:
        yield server


def broken(fake: Fake, kind: str, fault: Fault) -> list[str]:
    """Return the texts of an answer with a fault. The requests before it are answered well."""
    fault.path = CHAT_PATHS.get(kind, "/v1/chat/completions")
    fake.fault = fault
    is_silent = fault.before_s or fault.silent_after is not None
    settings = IMPATIENT if is_silent else FAST
    return [part.text for part in chat(fake, kind, settings=settings)]


def ask(fake: Fake, kind: str, name: str) -> None:
    """Get an answer of the model with that name."""
    api, client = api_of(fake, kind), client_of(fake)
    model = api.find_model(client, name, Cancel())
    list(answer_parts(client, api.chat_request(model, QUESTION, SHORT, 1024), Cancel()))


def test_an_answer_has_text_a_reason_of_its_end_and_usage(fake: Fake, kind: str) -> None:
    """With max_tokens=12, it has 12 tokens; the counts are those of the server."""
    prompt = len(CHATML.replace("<|im_start|>", "^").replace("<|im_end|>", "$")) + len("^assistant\n")
    parts = chat(fake, kind)
    assert text_of(parts) == "Once upon a "
    assert [part.finish for part in parts if part.finish] == [FinishReason.LENGTH]
    usage = next(part.usage for part in parts if part.usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt, 12)


def test_an_answer_that_the_model_ends_has_the_reason_stop(fake: Fake, kind: str) -> None:
    """The end token counts as generated."""
    fake.model.answers = ["Hi."]
    parts = chat(fake, kind)
    assert text_of(parts) == "Hi."
    assert [part.finish for part in parts if part.finish] == [FinishReason.STOP]
    assert next(part.usage for part in parts if part.usage).completion_tokens == 4


def test_reasoning_is_separate_from_the_text(fake: Fake, kind: str) -> None:
    """Each server has its own field for it."""
    fake.model.reasoning, fake.model.answers = "Hm.", ["Hi."]
    parts = chat(fake, kind)
    assert "".join(part.reasoning for part in parts) == "Hm."
    assert text_of(parts) == "Hi."


def test_the_option_of_a_seed_is_sent(fake: Fake, kind: str) -> None:
    """Also that of the temperature."""
    chat(fake, kind, options=GenerationOptions(temperature=0.5, seed=7, max_tokens=3))
    body = fake.requests[-1].body
    options = body["options"] if kind == "ollama" else body
    assert (options["temperature"], options["seed"]) == (0.5, 7)


def test_a_banned_phrase_is_refused(fake: Fake, kind: str) -> None:
    """No server can do that."""
    with pytest.raises(UsageError, match="does not support 'ban'"):
        chat(fake, kind, options=GenerationOptions(ban=("shiver",)))
    assert not fake.requests or fake.requests[-1].method == "GET" or "messages" not in fake.requests[-1].body


def test_a_message_is_continued_or_refused(fake: Fake, kind: str) -> None:
    """Servers whose API does not have it say so."""
    messages = (*QUESTION, Message(Role.ASSISTANT, "Once"))
    if kind in {"openai", "lmstudio"}:
        with pytest.raises(UsageError, match="cannot continue a message"):
            chat(fake, kind, messages)
        return
    parts = chat(fake, kind, messages)
    expected = len(CHATML) - 2 * len("<|im_start|>") - 2 * len("<|im_end|>") + 4 + len("^assistant\nOnce")
    assert next(part.usage for part in parts if part.usage).prompt_tokens == expected


def test_the_prompt_in_the_cache_is_counted(fake: Fake, kind: str) -> None:
    """By the servers that report it."""
    chat(fake, kind)
    usage = next(part.usage for part in chat(fake, kind) if part.usage)
    expected = 0 if kind == "ollama" else usage.prompt_tokens - 1
    assert usage == Usage(usage.prompt_tokens, 12, expected)


def test_a_tool_call_is_an_error(fake: Fake, kind: str) -> None:
    """The request offers no tools."""
    fake.calls_tool = True
    with pytest.raises(ServerError, match="called a tool"):
        chat(fake, kind)


@pytest.mark.parametrize(
    ("fault", "error_type", "message"),
    [
        (Fault(cut_after=3), ServerError, "broke off during the answer"),
        (Fault(silent_after=3), ServerError, "stopped in the middle"),
        (Fault(silent_after=0), ServerBusy, "no answer"),
        (Fault(before_s=5), ServerBusy, "no answer"),
        (Fault(raw=b"garbage"), ServerUnavailable, "failed"),
        (Fault(reply=Reply(b"", kind=EVENTS)), ServerError, "ended the answer too early"),
        (Fault(reply=Reply(b"data: {broken\n\n{broken\n", kind=EVENTS)), ServerError, "is not JSON"),
        (Fault(reply=Reply(b"data: 5\n\n5\n", kind=NDJSON)), ServerError, "JSON|not an object|early"),
        (Fault(reply=Reply(b"<html>", kind="text/html")), ServerUnavailable, "a web page"),
        (Fault(reply=Reply({"error": "no GPU"})), ServerError, "no GPU|too early"),
        (Fault(reply=gzip_bomb()), ServerError, "more than 1,048,576 bytes"),
        (Fault(reply=Reply(kind=EVENTS, pieces=[b"x" * 65536] * 64)), ServerError, "a line of more than"),
        (Fault(status=401), KeyRefused, "requires a key"),
        (Fault(status=404), ServerUnavailable, "does not have this"),
        (Fault(status=429), ServerBusy, "busy"),
        (Fault(status=500), ServerError, "failed"),
        (Fault(status=503), ServerBusy, "busy"),
    ],
)
def test_a_fault_is_one_error(
    fake: Fake, kind: str, fault: Fault, error_type: type[HermesError], message: str
) -> None:
    """The error is a sentence, and the next answer is good."""
    with pytest.raises(error_type, match=message) as caught:
        broken(fake, kind, fault)
    assert "\n" not in caught.value.message
    fake.fault = None
    assert text_of(chat(fake, kind)) == "Once upon a "


def test_an_event_without_choices_is_skipped() -> None:
    """Azure begins a stream with one."""
    empty = b'data: {"choices": []}\n\n'
    end = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    fault = Fault(reply=Reply(empty + end, kind=EVENTS))
    with FAKES["openai"]() as fake:
        assert broken(fake, "openai", fault) == ["", "Hi"]
        fault.reply = Reply(empty * 3 + b"data: [DONE]\n\n", kind=EVENTS)
        with pytest.raises(ServerError, match="ended the answer too early"):
            broken(fake, "openai", fault)


@pytest.mark.parametrize(
    "chunk",
    [
        '{"choices": 5}',
        '{"choices": [5]}',
        '{"choices": [{"delta": {"content": 5}}]}',
        '{"choices": [{"delta": {"content": ["a"]}}]}',
        '{"choices": [{"finish_reason": {}}]}',
        '{"choices": [], "usage": {"prompt_tokens": -1}}',
        '{"choices": [], "usage": {"prompt_tokens": 1e300}}',
        '{"choices": [{"delta": {"content": "\\ud800"}}]}',
        '["choices"]',
    ],
)
def test_a_value_of_a_wrong_type_is_one_error(chunk: str) -> None:
    """The message names the value."""
    fault = Fault(reply=Reply(f"data: {chunk}\n\n".encode(), kind=EVENTS))
    with FAKES["openai"]() as fake, pytest.raises(ServerError, match="answer of the server"):
        broken(fake, "openai", fault)


def test_an_answer_that_a_filter_stops_is_an_error() -> None:
    """The text before it was yielded."""
    with FakeOpenAI() as fake:
        fake.filters = True
        with pytest.raises(ServerError, match="content filter"):
            chat(fake, "openai")


def test_an_error_in_the_stream_has_the_servers_message() -> None:
    """The text before it was yielded."""
    with FakeOllama() as fake:
        fake.fails_after = 2
        api, client = api_of(fake, "ollama"), client_of(fake)
        model = api.find_model(client, "openhermes", Cancel())
        parts = answer_parts(client, api.chat_request(model, QUESTION, SHORT, 1024), Cancel())
        assert [next(parts).text, next(parts).text] == ["O", "n"]
        with pytest.raises(ServerError, match="encountered while running the model"):
            next(parts)


def test_a_cancel_keeps_the_text_and_closes_the_connection(fake: Fake, kind: str) -> None:
    """Within 0.2 seconds, also if the server says nothing more."""
    fake.model.answers = ["Hi."]
    api, client = api_of(fake, kind), client_of(fake, ClientSettings())
    model = api.find_model(client, fake.model.name, Cancel())
    fake.fault = Fault(silent_after=2)
    cancel = Cancel()
    parts = answer_parts(client, api.chat_request(model, QUESTION, SHORT, 1024), cancel)
    next(parts)
    threading.Timer(0.2, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(RequestCancelled):
        list(parts)
    assert time.monotonic() - start < 0.2 + CANCEL_S


def test_a_long_answer_is_read_to_its_end(fake: Fake, kind: str) -> None:
    """Each of its tokens arrives."""
    fake.model.answers = ["Ein süßer Brei ☕\n" * 50]
    expected = fake.model.answers[0]
    parts = chat(fake, kind, options=GenerationOptions(), context_size=4096)
    assert text_of(parts)[: len(expected)] == expected[: len(text_of(parts))]
    assert len(text_of(parts)) > 800


def test_the_name_of_an_unknown_model_is_an_error(kind: str) -> None:
    """A similar name is suggested; OpenAI's own error comes with the answer."""
    with FAKES[kind](FakeModel("openhermes:latest")) as fake, pytest.raises(ServerUnavailable) as caught:
        ask(fake, kind, "openherms")
    assert "openherms" in caught.value.message
    if kind != "openai":
        assert caught.value.hint == "did you mean 'openhermes:latest'?"
