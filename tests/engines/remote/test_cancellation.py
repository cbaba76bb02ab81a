"""A cancel ends each request to a server: also those that count or encode text before and after an answer."""

import threading
import time
from collections.abc import Iterator

import pytest

from hermes_cli.engines.base import Cancel, Chunk, Completion, FinishReason, RequestCancelled
from hermes_cli.engines.remote.connection import open_engine
from hermes_cli.engines.remote.engine import RemoteEngine
from hermes_cli.engines.remote.servers.api import Level
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import (
    CANCEL_S,
    FAKES,
    FAST,
    QUESTION,
    Fake,
    OtherModel,
    address_of,
    cancelled_after,
    opened,
)
from tests.engines.remote.fakes.http_server import Fault, sse
from tests.engines.remote.fakes.llama_server import FakeLlamaServer
from tests.engines.remote.fakes.model import STORY, FakeModel, Generation
from tests.engines.remote.fakes.vllm import FakeVLLM

GREEDY = GenerationOptions(temperature=0, max_tokens=12)
MODELS = {Level.TOKEN_IDS: FakeModel, Level.COUNTED: OtherModel}
HUNG = Fault(before_s=60, path="/tokenize")


@pytest.fixture(params=["llama-server", "vllm"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server that counts tokens."""
    return str(request.param)


@pytest.fixture(params=MODELS)
def level(request: pytest.FixtureRequest) -> Level:
    """Each level with requests that count tokens."""
    found: Level = request.param
    return found


@pytest.fixture
def fake(kind: str, level: Level) -> Iterator[Fake]:
    """A fake of that kind and level."""
    with FAKES[kind](MODELS[level]()) as server:
        yield server


@pytest.fixture
def engine(fake: Fake, level: Level) -> RemoteEngine:
    """An engine whose server does not answer any more if a text is encoded or counted."""
    made = opened(fake)
    assert made.level is level
    fake.fault = HUNG
    return made


def assert_closed(fake: Fake) -> None:
    """Check that the client has closed one connection before its response."""
    end = time.monotonic() + 2
    while not fake.closed_early and time.monotonic() < end:
        time.sleep(0.01)
    assert fake.closed_early == 1


def test_a_cancel_ends_a_count(engine: RemoteEngine, fake: Fake) -> None:
    """The same count succeeds later."""
    with cancelled_after(0.2) as cancel, pytest.raises(RequestCancelled):
        engine.count_tokens(QUESTION, cancel=cancel)
    assert_closed(fake)
    fake.fault = None
    assert engine.count_tokens(QUESTION) > len("You are brief.Tell me a story.")


def test_a_cancel_that_was_set_before_lets_known_counts_return(engine: RemoteEngine, fake: Fake) -> None:
    """No request is sent."""
    fake.fault = None
    expected = engine.count_tokens(QUESTION)
    sent, cancel = len(fake.requests), Cancel()
    cancel.set()
    assert engine.count_tokens(QUESTION, cancel=cancel) == expected
    with pytest.raises(RequestCancelled):
        engine.count_tokens((Message(Role.USER, "something else"),), cancel=cancel)
    assert len(fake.requests) == sent


def test_a_cancel_while_the_prompt_is_made_gives_a_cancelled_answer(engine: RemoteEngine, fake: Fake) -> None:
    """It has no text, and the answer is not requested."""
    with cancelled_after(0.2) as cancel:
        chunks = list(engine.stream(QUESTION, GREEDY, cancel))
    assert chunks == [Chunk("", Completion(FinishReason.CANCELLED))]
    assert_closed(fake)
    assert not [path for path in fake.paths() if "completion" in path]


def test_a_cancel_ends_the_prefill_while_the_prompt_is_made() -> None:
    """On the thread that prefills."""
    with FakeLlamaServer() as fake:
        engine = opened(fake)
        fake.fault = HUNG
        with cancelled_after(0.2) as cancel:
            engine.prefill(QUESTION, cancel)
        assert_closed(fake)
        assert "/completion" not in fake.paths()


def test_a_prefill_and_a_count_have_their_own_cancels() -> None:
    """Nor does the cancel of the count end the prefill."""
    with FakeLlamaServer() as fake:
        engine = opened(fake)
        fake.fault = HUNG
        cancels = {"prefill": Cancel(), "count": Cancel()}
        ended: list[str] = []

        def prefill() -> None:
            engine.prefill(QUESTION, cancels["prefill"])
            ended.append("prefill")

        def count() -> None:
            with pytest.raises(RequestCancelled):
                engine.count_tokens(QUESTION, cancel=cancels["count"])
            ended.append("count")

        for first, second in (("prefill", "count"), ("count", "prefill")):
            threads = {"prefill": threading.Thread(target=prefill), "count": threading.Thread(target=count)}
            for thread in threads.values():
                thread.start()
            time.sleep(0.1)
            cancels[first].set()
            threads[first].join(5)
            time.sleep(0.1)
            assert ended == [first]
            cancels[second].set()
            threads[second].join(5)
            assert ended == [first, second]
            ended.clear()
            cancels = {"prefill": Cancel(), "count": Cancel()}


class MergingServer(FakeLlamaServer):
    """A server that reports only the last token of the second character of an answer."""

    def events(self, generation: Generation, *, reports: bool) -> Iterator[bytes]:
        events = super().events(generation, reports=reports)
        counts = {"id_slot": -1, "tokens_predicted": 1}
        yield sse({"index": 0, "content": "O", "tokens": [89], "stop": False, **counts})
        yield sse({"index": 0, "content": "ß", "tokens": [5], "stop": False, **counts, "tokens_predicted": 3})
        yield from events


def test_a_cancel_ends_a_request_for_the_ids_of_a_character() -> None:
    """The text before it is kept, and so are its ids."""
    with MergingServer() as fake:
        engine = opened(fake)
        engine.count_tokens(QUESTION)
        fake.fault = HUNG
        with cancelled_after(0.3) as cancel:
            *texts, end = engine.stream(QUESTION, GREEDY, cancel)
        assert [chunk.text for chunk in texts if chunk.text] == ["O"]
        assert end.completion is not None
        assert end.completion.finish_reason is FinishReason.CANCELLED
        assert end.completion.turn_ids is not None
        assert_closed(fake)


def test_a_cancel_while_the_tokens_of_an_answer_are_checked_keeps_its_usage() -> None:
    """The answer is complete."""
    with FakeVLLM(OtherModel()) as fake:
        engine = opened(fake)
        cancel, text = Cancel(), ""
        for chunk in engine.stream(QUESTION, GREEDY, cancel):
            text += chunk.text
            if fake.fault is None:
                engine._counted.cache_clear()
                fake.fault = HUNG
                threading.Timer(0.2, cancel.set).start()
                start = time.monotonic()
        assert time.monotonic() - start < 0.2 + CANCEL_S
        done = chunk.completion
        assert done is not None
        assert (text, done.finish_reason) == (STORY[:12], FinishReason.LENGTH)
        assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (60, 12)
        assert_closed(fake)


def test_a_cancel_ends_the_requests_that_open_an_engine(kind: str) -> None:
    """Also those that recognize the vocabulary."""
    for text in ("<|im_start|>", "s\\u00fc\\u00dfer", "You are Hermes."):
        hung = Fault(before_s=60, text=text)
        with FAKES[kind](fault=hung) as fake:
            with cancelled_after(0.3) as cancel, pytest.raises(RequestCancelled):
                open_engine(address_of(f"{fake.url}:hermes"), {}, cancel=cancel, settings=FAST)
            assert_closed(fake)
