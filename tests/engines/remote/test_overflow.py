"""Tests of what the engine learns from a server's error about its context window."""

import itertools
from collections.abc import Iterator

import pytest

from hermes_cli.engines.base import Cancel
from hermes_cli.errors import ContextOverflow
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import QUESTION, opened
from tests.engines.remote.fakes.http_server import Fault, Reply, sse
from tests.engines.remote.fakes.lmstudio import FakeLMStudio
from tests.engines.remote.fakes.model import STORY
from tests.engines.remote.fakes.openai_server import FakeOpenAI

GREEDY = GenerationOptions(temperature=0, max_tokens=12)


def test_the_context_window_in_an_error_replaces_the_assumed_one() -> None:
    """With the number of tokens in it, the next estimate is larger. The user is told."""
    notices: list[str] = []
    with FakeOpenAI() as fake:
        engine = opened(fake, notices, context_size=None)
        question = (Message(Role.USER, "word " * 300),)  # 1,500 characters, each of which is a token
        estimate = engine.count_tokens(question)
        with pytest.raises(ContextOverflow):
            list(engine.stream(question, GREEDY, Cancel()))
        assert engine.context_size == 1024
        assert estimate < 1500 < engine.count_tokens(question)
        assert notices == ["the OpenAI API has a context window of 1,024 tokens; hermes uses it from now on"]
        chunks = engine.stream(QUESTION, GREEDY, Cancel())
        assert "".join(chunk.text for chunk in chunks) == STORY[:12]


def test_a_context_window_in_an_error_leaves_room_for_the_prompt() -> None:
    """The server refuses an answer that can be longer than what the prompt leaves."""
    with FakeOpenAI() as fake:
        engine = opened(fake, context_size=None)
        with pytest.raises(ContextOverflow) as caught:
            list(engine.stream((Message(Role.USER, "word " * 300),), GREEDY, Cancel()))
        assert caught.value.can_retry
        list(engine.stream(QUESTION, GenerationOptions(max_tokens=5000, loop_guard=0), Cancel()))
        assert fake.requests[-1].body["max_tokens"] < 1024


def test_an_overflow_in_the_middle_of_an_answer_is_not_tried_again() -> None:
    """A new answer would follow the text that is already shown."""

    def cut(pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield from itertools.islice(pieces, 5)
        yield sse({"error": {"message": "This model's maximum context length is 512 tokens. It has 600."}})

    with FakeOpenAI(fault=Fault(rewrite=cut, path="/v1/chat/completions")) as fake:
        engine = opened(fake, context_size=None)
        with pytest.raises(ContextOverflow) as caught:
            list(engine.stream(QUESTION, GREEDY, Cancel()))
        assert not caught.value.can_retry


def test_numbers_in_an_error_that_cannot_be_true_are_bounded() -> None:
    """A text has at most as many tokens as bytes. A server that has reported its context window keeps it."""
    lie = "This model's maximum context length is 64 tokens. However, you requested 900000 tokens."
    fault = Fault(reply=Reply({"error": {"message": lie}}, 400), path="/v1/chat/completions")
    question = (Message(Role.USER, "word " * 100),)
    with FakeOpenAI() as fake, FakeLMStudio() as studio:
        for server in (fake, studio):
            engine = opened(server, context_size=None)
            server.fault = fault
            with pytest.raises(ContextOverflow):
                list(engine.stream(question, GREEDY, Cancel()))
            assert engine.count_tokens(question) < 600
        assert engine.context_size == 1024
