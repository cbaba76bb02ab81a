"""Tests of the parts that only the llama.cpp engine has: HTTP listener, characters of several tokens, log."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_cli.engines.base import Cancel, Completion, FinishReason
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.server import LlamaServer
from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.messages import Conversation, Message, Role
from hermes_cli.models.gguf.model import read_header
from hermes_cli.options import GenerationOptions

FACES = "😀😁😂🤣😃😄😅😆😉😊"


@pytest.fixture(scope="module")
def engine(starter_path: Path) -> Iterator[LlamaCppEngine]:
    """An engine over the starter."""
    settings = LlamaSettings(str(starter_path), context_size=1024, threads=2)
    made = LlamaCppEngine(read_header(starter_path), settings, name="starter")
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(starter_path: Path) -> Iterator[LlamaServer]:
    """llama.cpp with the starter, in this process."""
    made = LlamaServer(LlamaSettings(str(starter_path), context_size=512, threads=2))
    yield made
    made._connection.close()


def test_the_listener_refuses_requests_without_the_key(server: LlamaServer) -> None:
    """A request without the key gets status 401 from every endpoint."""
    address = server._server.listening_address
    for path in ("/tokenize", "/completion", "/slots", "/props"):
        request = urllib.request.Request(address + path, data=b"{}", method="POST")  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)  # noqa: S310 - the engine's listener, on loopback
        caught.value.close()
        assert caught.value.code == 401


def test_an_answer_with_emoji_is_reused_from_the_cache(engine: LlamaCppEngine) -> None:
    """After an answer with emoji, the next turn reuses the cache up to the answer's end."""
    conversation = Conversation(
        (Message(Role.USER, f"Repeat: {FACES}"), Message(Role.ASSISTANT, f"{FACES} {FACES} {FACES}"))
    )
    options = GenerationOptions(temperature=0, repetition_penalty=1, max_tokens=24)
    chunks = list(engine.stream(conversation.messages, options, Cancel()))
    done = chunks[-1].completion
    text = "".join(chunk.text for chunk in chunks)
    assert done is not None
    assert sum(ord(c) > 0xFFFF for c in text) >= 3, (
        "the model no longer repeats the emoji: choose another prompt"
    )
    assert "�" not in text
    reply = Message(Role.ASSISTANT, conversation.messages[-1].text + text, done.turn_ids)
    after = Conversation((conversation.messages[0], reply, Message(Role.USER, "Again.")))
    last = list(engine.stream(after.messages, options, Cancel()))[-1].completion
    assert last is not None
    kept = done.usage.prompt_tokens + done.usage.completion_tokens
    assert kept - 4 <= last.usage.cached_tokens <= kept  # a character cut by max_tokens is not in the text


def test_a_banned_phrase_of_several_tokens_is_rewound(engine: LlamaCppEngine) -> None:
    """The prompt is not evaluated again, and the next turn reuses the cache of the answer."""
    question = Message(Role.USER, "Name the capital of France, and tell me about it.")

    def answered(*messages: Message, ban: tuple[str, ...] = ()) -> tuple[str, Completion]:
        options = GenerationOptions(temperature=0, max_tokens=30, ban=ban)
        chunks = list(engine.stream(messages, options, Cancel()))
        assert chunks[-1].completion is not None
        return "".join(chunk.text for chunk in chunks), chunks[-1].completion

    plain, _ = answered(question)
    assert "capital of France" in plain, "the model answers otherwise: choose another prompt"
    text, done = answered(question, ban=("capital OF France", "city of"))
    assert "capital of france" not in text.lower()
    assert "city of" not in text.lower()
    assert done.finish_reason is FinishReason.LENGTH
    assert done.usage.completion_tokens == 30
    assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
    again, _ = answered(question, ban=("capital OF France", "city of"))
    assert again == text
    reply = Message(Role.ASSISTANT, text, done.turn_ids)
    _, after = answered(question, reply, Message(Role.USER, "And then?"))
    assert after.usage.cached_tokens >= done.usage.prompt_tokens + done.usage.completion_tokens - 1
    assert answered(question)[0] == plain


def test_a_cancelled_answer_without_phrases_stops(engine: LlamaCppEngine) -> None:
    """The text so far is shown."""
    cancel, text = Cancel(), ""
    for chunk in engine.stream([Message(Role.USER, "Count.")], GenerationOptions(ban=("zzz yyy",)), cancel):
        text += chunk.text
        cancel.set()
        if chunk.completion is not None:
            assert chunk.completion.finish_reason is FinishReason.CANCELLED
    assert len(text) < 200


def test_llama_cpp_prints_nothing(engine: LlamaCppEngine, capfd: pytest.CaptureFixture[str]) -> None:
    """llama.cpp prints nothing to stdout and stderr while it answers."""
    list(engine.stream([Message(Role.USER, "Hi")], GenerationOptions(max_tokens=3), Cancel()))
    assert capfd.readouterr() == ("", "")


def test_a_closed_connection_is_opened_again(server: LlamaServer) -> None:
    """A connection that was closed is opened again for the next request."""
    before = server.encode("Hi")
    server._connection.sock.close()
    assert server.encode("Hi") == before


def test_only_new_turns_are_encoded(engine: LlamaCppEngine) -> None:
    """Only the new turn of a conversation of 51 turns is encoded."""
    turns = [Message(Role.USER, f"turn {n}") for n in range(50)]
    engine.count_tokens(turns)
    known = engine._format.encoder.cached_ids.cache_info()
    engine.count_tokens([*turns, Message(Role.USER, "a new one")])
    after = engine._format.encoder.cached_ids.cache_info()
    assert after.misses - known.misses == 1


def test_an_answer_ends_at_a_context_window_that_llama_cpp_rounds_up(starter_path: Path) -> None:
    """llama.cpp's windows are multiples of 256 tokens; hermes stops at the requested size."""
    settings = LlamaSettings(str(starter_path), context_size=64, threads=2)
    engine = LlamaCppEngine(read_header(starter_path), settings, name="starter")
    messages = (Message(Role.USER, "Count from one to one hundred."),)
    done = list(engine.stream(messages, GenerationOptions(temperature=0), Cancel()))[-1].completion
    engine.close()
    assert done is not None
    assert done.usage.prompt_tokens + done.usage.completion_tokens <= 64
    assert done.finish_reason is FinishReason.LENGTH
