"""Tests of an engine that loads on a thread: early calls wait, can be cancelled, and get the load's error."""

import threading
from collections.abc import Callable, Iterator

import pytest

from hermes_cli.engines.background import BackgroundEngine, is_ready
from hermes_cli.engines.base import Cancel, Chunk, Completion, FinishReason
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import ModelUnavailable
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions

ASKED = (Message(Role.USER, "Hi"),)
OPTIONS = GenerationOptions()
PATIENCE_S = 10


class Loading:
    """A model whose load finishes when `let_in` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.let_in = threading.Event()
        self.begun = threading.Event()
        self.opened = 0
        self.inner = ScriptedEngine(["Hello."] * 3, context_size=512)
        self._error = error
        self.engine = BackgroundEngine(self._open, name="planned", context_size=99)

    def _open(self, report: Callable[[int, int], None]) -> ScriptedEngine:
        self.opened += 1
        report(1, 4)
        self.begun.set()
        assert self.let_in.wait(PATIENCE_S)
        if self._error is not None:
            raise self._error
        report(4, 4)
        return self.inner


@pytest.fixture
def loading() -> Iterator[Loading]:
    """A model that has not begun to load."""
    made = Loading()
    yield made
    made.let_in.set()
    made.engine.close()


def said(engine: BackgroundEngine, cancel: Cancel | None = None) -> list[Chunk]:
    """Return the chunks of the whole answer."""
    return list(engine.stream(ASKED, OPTIONS, cancel or Cancel()))


def later(what: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Call `what` on a thread; return the thread and a list that receives the result."""
    came: list[object] = []
    thread = threading.Thread(target=lambda: came.append(what()), daemon=True)
    thread.start()
    return thread, came


def test_before_it_is_there_it_is_what_was_planned(loading: Loading) -> None:
    """The name and the context size are the planned ones during the load, and then those of the model."""
    engine = loading.engine
    assert (engine.name, engine.context_size, engine.is_loading()) == ("planned", 99, True)
    assert (engine.progress, engine.failure, loading.opened) == ((0, 0), None, 0)
    engine.start()
    assert loading.begun.wait(PATIENCE_S)
    assert (engine.name, engine.is_loading(), engine.progress) == ("planned", True, (1, 4))
    loading.let_in.set()
    assert engine.opened() is loading.inner
    assert (engine.name, engine.context_size, engine.is_loading()) == ("scripted", 512, False)
    assert engine.progress == (4, 4)


@pytest.mark.parametrize("what", ["count_tokens", "prompt_tokens", "stream", "opened"])
def test_what_needs_the_model_begins_to_load_it_and_waits(loading: Loading, what: str) -> None:
    """A call that needs the model starts the load, waits for it, and returns the model's result."""
    engine, inner = loading.engine, loading.inner
    asked: dict[str, Callable[[], object]] = {
        "count_tokens": lambda: engine.count_tokens(ASKED),
        "prompt_tokens": lambda: engine.prompt_tokens(ASKED),
        "stream": lambda: "".join(chunk.text for chunk in said(engine)),
        "opened": engine.opened,
    }
    wanted: dict[str, object] = {
        "count_tokens": inner.count_tokens(ASKED),
        "prompt_tokens": inner.prompt_tokens(ASKED),
        "stream": "Hello.",
        "opened": inner,
    }
    thread, came = later(asked[what])
    assert loading.begun.wait(PATIENCE_S)
    assert came == []
    loading.let_in.set()
    thread.join(PATIENCE_S)
    assert came == [wanted[what]]


def test_a_cancel_ends_the_wait_and_says_nothing(loading: Loading) -> None:
    """A cancel ends the wait with an empty answer; the load goes on and the next question gets its answer."""
    cancel = Cancel()
    thread, came = later(lambda: said(loading.engine, cancel))
    assert loading.begun.wait(PATIENCE_S)
    cancel.set()
    thread.join(PATIENCE_S)
    assert came == [[Chunk("", Completion(FinishReason.CANCELLED))]]
    assert loading.engine.is_loading()
    loading.let_in.set()
    assert "".join(chunk.text for chunk in said(loading.engine)) == "Hello."
    assert loading.opened == 1


def test_an_answer_can_be_stopped_once_the_model_is_there(loading: Loading) -> None:
    """A cancel during the answer ends it after the first piece of text."""
    loading.let_in.set()
    cancel = Cancel()
    chunks = []
    for chunk in loading.engine.stream(ASKED, OPTIONS, cancel):
        chunks.append(chunk)
        cancel.set()
    assert [chunk.text for chunk in chunks] == ["H", ""]


def test_a_failure_is_raised_wherever_the_model_is_needed_and_each_time() -> None:
    """Every call that needs the model raises the error of the load, each time."""
    error = ModelUnavailable("the file is cut short", "fetch it again")
    loading = Loading(error)
    engine = loading.engine
    loading.let_in.set()
    engine.start()
    needed: list[Callable[[], object]] = [
        lambda: said(engine),
        lambda: engine.count_tokens(ASKED),
        lambda: engine.prompt_tokens(ASKED),
        engine.opened,
    ]
    for ask in [*needed, *needed]:
        with pytest.raises(ModelUnavailable) as caught:
            ask()
        assert caught.value is error
    assert (engine.failure, engine.is_loading(), loading.opened) == (error, False, 1)
    assert (engine.name, engine.context_size) == ("planned", 99)
    engine.close()
    engine.close()


def test_it_is_opened_once_however_often_it_is_started(loading: Loading) -> None:
    """Any number of starts, before and after the load, opens the model once."""
    for _ in range(5):
        loading.engine.start()
    loading.let_in.set()
    loading.engine.opened()
    loading.engine.start()
    said(loading.engine)
    assert loading.opened == 1


def test_closed_while_it_loads_it_is_freed_once_it_is_there(loading: Loading) -> None:
    """`close` during the load waits for its end and then closes the model."""
    loading.engine.start()
    assert loading.begun.wait(PATIENCE_S)
    thread, _ = later(loading.engine.close)
    before = loading.inner.closed
    loading.let_in.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert (before, loading.inner.closed) == (False, True)
    loading.engine.close()


def test_closed_before_it_began_nothing_is_loaded(loading: Loading) -> None:
    """An engine that is closed before its start opens no model."""
    loading.engine.close()
    assert loading.opened == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_otherwise_is_no_wait_for_ever() -> None:
    """If the opener raises SystemExit, callers get a RuntimeError instead of waiting forever."""

    def leave(_report: Callable[[int, int], None]) -> ScriptedEngine:
        raise SystemExit

    engine = BackgroundEngine(leave, name="x", context_size=1)
    with pytest.raises(RuntimeError, match="ended without a result"):
        engine.opened()
    assert not engine.is_loading()
    assert engine._thread is not None
    engine._thread.join(PATIENCE_S)  # or pytest reports its exception in another test


def test_whether_it_can_be_asked_waits_for_the_model_or_the_cancel(loading: Loading) -> None:
    """`is_ready` is False after a cancel during the load, and True once the model is loaded."""
    cancel = Cancel()
    thread, came = later(lambda: is_ready(loading.engine, cancel))
    assert loading.begun.wait(PATIENCE_S)
    cancel.set()
    thread.join(PATIENCE_S)
    assert came == [False]
    loading.let_in.set()
    assert is_ready(loading.engine, Cancel())
    assert is_ready(loading.inner, cancel)
