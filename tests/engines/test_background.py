"""Tests of an engine that loads on a thread: early calls wait, can be cancelled, and get the load's error."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from hermes_cli.engines.background import BackgroundEngine, is_ready
from hermes_cli.engines.base import Cancel, Chunk, Completion, FinishReason, RequestCancelled
from hermes_cli.engines.scripted import ScriptedEngine
from hermes_cli.errors import HermesError, KeyRefused, ModelUnavailable, ServerBusy, ServerUnavailable
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions

MESSAGES = (Message(Role.USER, "Hi"),)
OPTIONS = GenerationOptions()
PATIENCE_S = 10


class Loading:
    """A model whose load finishes when `may_finish` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_finish = threading.Event()
        self.started = threading.Event()
        self.open_count = 0
        self.inner = ScriptedEngine(["Hello."] * 3, context_size=512)
        self._error = error
        self.engine = BackgroundEngine(self._open, name="planned", context_size=99)

    def _open(
        self, report: Callable[[int, int], None], _notify: Callable[[str], None], _cancel: Cancel
    ) -> ScriptedEngine:
        self.open_count += 1
        report(1, 4)
        self.started.set()
        assert self.may_finish.wait(PATIENCE_S)
        if self._error is not None:
            raise self._error
        report(4, 4)
        return self.inner


@pytest.fixture
def loading() -> Iterator[Loading]:
    """A model that has not begun to load."""
    made = Loading()
    yield made
    made.may_finish.set()
    made.engine.close()


def chunks_of(engine: BackgroundEngine, cancel: Cancel | None = None) -> list[Chunk]:
    """Return the chunks of the whole answer."""
    return list(engine.stream(MESSAGES, OPTIONS, cancel or Cancel()))


def call_on_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Call a function on a thread; return the thread and a list that receives the result."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


def test_name_and_context_size_are_the_planned_ones_during_the_load(loading: Loading) -> None:
    """The name and the context size are the planned ones during the load, and then those of the model."""
    engine = loading.engine
    assert (engine.name, engine.context_size, engine.is_loading()) == ("planned", 99, True)
    assert (engine.progress, engine.failure, loading.open_count) == ((0, 0), None, 0)
    engine.start()
    assert loading.started.wait(PATIENCE_S)
    assert (engine.name, engine.is_loading(), engine.progress) == ("planned", True, (1, 4))
    loading.may_finish.set()
    assert engine.opened() is loading.inner
    assert (engine.name, engine.context_size, engine.is_loading()) == ("scripted", 512, False)
    assert engine.progress == (4, 4)


@pytest.mark.parametrize("method", ["count_tokens", "prompt_tokens", "stream", "opened"])
def test_a_call_that_needs_the_model_starts_the_load_and_waits(loading: Loading, method: str) -> None:
    """A call that needs the model starts the load, waits for it, and returns the model's result."""
    engine, inner = loading.engine, loading.inner
    calls: dict[str, Callable[[], object]] = {
        "count_tokens": lambda: engine.count_tokens(MESSAGES),
        "prompt_tokens": lambda: engine.prompt_tokens(MESSAGES),
        "stream": lambda: "".join(chunk.text for chunk in chunks_of(engine)),
        "opened": engine.opened,
    }
    expected: dict[str, object] = {
        "count_tokens": inner.count_tokens(MESSAGES),
        "prompt_tokens": inner.prompt_tokens(MESSAGES),
        "stream": "Hello.",
        "opened": inner,
    }
    thread, results = call_on_thread(calls[method])
    assert loading.started.wait(PATIENCE_S)
    assert results == []
    loading.may_finish.set()
    thread.join(PATIENCE_S)
    assert results == [expected[method]]


def test_a_cancel_ends_the_wait_with_an_empty_answer(loading: Loading) -> None:
    """A cancel ends the wait with an empty answer; the load goes on and the next question gets its answer."""
    cancel = Cancel()
    thread, results = call_on_thread(lambda: chunks_of(loading.engine, cancel))
    assert loading.started.wait(PATIENCE_S)
    cancel.set()
    thread.join(PATIENCE_S)
    assert results == [[Chunk("", Completion(FinishReason.CANCELLED))]]
    assert loading.engine.is_loading()
    loading.may_finish.set()
    assert "".join(chunk.text for chunk in chunks_of(loading.engine)) == "Hello."
    assert loading.open_count == 1


def test_a_cancel_ends_a_count_during_the_load(loading: Loading) -> None:
    """It raises RequestCancelled, and a prefill ends."""
    cancel = Cancel(0.1)
    with pytest.raises(RequestCancelled):
        loading.engine.count_tokens(MESSAGES, cancel=cancel)
    loading.engine.prefill(MESSAGES, cancel)
    assert loading.engine.is_loading()


def test_an_answer_can_be_cancelled_after_the_load(loading: Loading) -> None:
    """A cancel during the answer ends it after the first piece of text."""
    loading.may_finish.set()
    cancel = Cancel()
    chunks = []
    for chunk in loading.engine.stream(MESSAGES, OPTIONS, cancel):
        chunks.append(chunk)
        cancel.set()
    assert [chunk.text for chunk in chunks] == ["H", ""]


def test_every_call_that_needs_the_model_raises_the_error_of_the_load() -> None:
    """Every call that needs the model raises the error of the load, each time."""
    error = ModelUnavailable("the file is cut short", "fetch it again")
    loading = Loading(error)
    engine = loading.engine
    loading.may_finish.set()
    engine.start()
    calls: list[Callable[[], object]] = [
        lambda: chunks_of(engine),
        lambda: engine.count_tokens(MESSAGES),
        lambda: engine.prompt_tokens(MESSAGES),
        engine.opened,
    ]
    for call in [*calls, *calls]:
        with pytest.raises(ModelUnavailable) as caught:
            call()
        assert caught.value is error
    assert (engine.failure, engine.is_loading(), loading.open_count) == (error, False, 1)
    assert (engine.name, engine.context_size) == ("planned", 99)
    engine.close()
    engine.close()


def test_any_number_of_starts_opens_the_model_once(loading: Loading) -> None:
    """Any number of starts, before and after the load, opens the model once."""
    for _ in range(5):
        loading.engine.start()
    loading.may_finish.set()
    loading.engine.opened()
    loading.engine.start()
    chunks_of(loading.engine)
    assert loading.open_count == 1


def test_close_during_the_load_closes_the_model_afterwards(loading: Loading) -> None:
    """`close` during the load waits for its end and then closes the model."""
    loading.engine.start()
    assert loading.started.wait(PATIENCE_S)
    thread, _ = call_on_thread(loading.engine.close)
    before = loading.inner.closed
    loading.may_finish.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert (before, loading.inner.closed) == (False, True)
    loading.engine.close()


def test_close_during_the_load_asks_the_opener_to_end() -> None:
    """An opener that waits for a server ends then."""
    started = threading.Event()

    def opener(_report: object, _notify: object, cancel: Cancel) -> ScriptedEngine:
        started.set()
        while not cancel.is_set():
            time.sleep(0.01)
        raise RequestCancelled

    engine = BackgroundEngine(opener, name="x", context_size=1)
    engine.start()
    assert started.wait(PATIENCE_S)
    thread, _ = call_on_thread(engine.close)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert isinstance(engine.failure, RequestCancelled)


def test_close_before_the_start_opens_no_model(loading: Loading) -> None:
    """An engine that is closed before its start opens no model."""
    loading.engine.close()
    assert loading.open_count == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_system_exit_during_the_load_raises_a_runtime_error() -> None:
    """If the opener raises SystemExit, callers get a RuntimeError instead of waiting forever."""

    def leave(_report: object, _notify: object, _cancel: Cancel) -> ScriptedEngine:
        raise SystemExit

    engine = BackgroundEngine(leave, name="x", context_size=1)
    with pytest.raises(RuntimeError, match="ended without a result"):
        engine.opened()
    assert not engine.is_loading()
    assert engine._thread is not None
    engine._thread.join(PATIENCE_S)  # or pytest reports its exception in another test


def test_is_ready_waits_for_the_model_or_a_cancel(loading: Loading) -> None:
    """`is_ready` is False after a cancel during the load, and True once the model is loaded."""
    cancel = Cancel()
    thread, results = call_on_thread(lambda: is_ready(loading.engine, cancel))
    assert loading.started.wait(PATIENCE_S)
    cancel.set()
    thread.join(PATIENCE_S)
    assert results == [False]
    loading.may_finish.set()
    assert is_ready(loading.engine, Cancel())
    assert is_ready(loading.inner, cancel)


class PrefillingEngine(ScriptedEngine):
    """A scripted engine whose prefills last until `go_on` is set or they are cancelled."""

    def __init__(self) -> None:
        super().__init__(["Hello."])
        self.prefilled: list[tuple[str, bool]] = []
        """The text of the last message of each prefill that has ended, and whether it was cancelled."""
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        self.busy.set()
        while not cancel.is_set() and not self.go_on.wait(0.01):
            pass
        self.busy.clear()
        self.prefilled.append((messages[-1].text, cancel.is_set()))

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        assert not self.busy.is_set(), "an answer began during a prefill"
        return super().stream(messages, options, cancel)


SYSTEM = (Message(Role.SYSTEM, "one"),)
OTHER_SYSTEM = (Message(Role.SYSTEM, "two"),)


@pytest.fixture
def prefilling() -> Iterator[tuple[BackgroundEngine, PrefillingEngine]]:
    """A loaded engine that is prefilling SYSTEM."""
    inner = PrefillingEngine()
    engine = BackgroundEngine.around(inner)
    engine.prefill_ahead(SYSTEM)
    assert inner.busy.wait(PATIENCE_S)
    yield engine, inner
    inner.go_on.set()
    engine.close()


Prefilling = tuple[BackgroundEngine, PrefillingEngine]


def test_an_answer_ends_the_prefill(prefilling: Prefilling) -> None:
    """A message cancels the prefill, and its answer begins when the prefill has ended."""
    engine, inner = prefilling
    assert "".join(chunk.text for chunk in chunks_of(engine)) == "Hello."
    assert inner.prefilled == [("one", True)]


def test_the_same_messages_do_not_begin_a_second_prefill(prefilling: Prefilling) -> None:
    """Showing the prompt again, after a command, lets the prefill continue, and begins no other."""
    engine, inner = prefilling
    engine.prefill_ahead(SYSTEM)
    inner.go_on.set()
    engine._prefilling.join(PATIENCE_S)  # type: ignore[union-attr]
    engine.prefill_ahead(SYSTEM)
    assert chunks_of(engine)
    assert inner.prefilled == [("one", False)]


def test_other_messages_end_the_prefill_and_begin_another(prefilling: Prefilling) -> None:
    """A prefill of other messages, after /persona for example, begins when the first one has ended."""
    engine, inner = prefilling
    engine.prefill_ahead(OTHER_SYSTEM)
    inner.go_on.set()
    engine._prefilling.join(PATIENCE_S)  # type: ignore[union-attr]
    assert inner.prefilled == [("one", True), ("two", False)]


def test_a_cancel_ends_the_wait_for_a_prefill() -> None:
    """An answer waits for the current chunk of the prefill; a cancel ends that wait, too."""

    class Slow(PrefillingEngine):
        def prefill(self, _messages: Sequence[Message], _cancel: Cancel) -> None:
            self.go_on.wait(PATIENCE_S)

    inner = Slow()
    engine = BackgroundEngine.around(inner)
    engine.prefill_ahead(SYSTEM)
    cancel = Cancel()
    cancel.set()
    assert chunks_of(engine, cancel) == [Chunk("", Completion(FinishReason.CANCELLED))]
    inner.go_on.set()
    assert "".join(chunk.text for chunk in chunks_of(engine)) == "Hello."


def test_a_prefill_that_fails_is_not_reported(prefilling: Prefilling) -> None:
    """The error of a prefill is not raised: the answer raises it again, if it persists."""
    engine, inner = prefilling

    class Failing(PrefillingEngine):
        def prefill(self, _messages: Sequence[Message], _cancel: Cancel) -> None:
            raise ModelUnavailable("the device failed")

    failing = BackgroundEngine.around(Failing())
    failing.prefill_ahead(SYSTEM)
    assert "".join(chunk.text for chunk in chunks_of(failing)) == "Hello."
    inner.go_on.set()
    assert chunks_of(engine)


def test_nothing_is_prefilled_before_the_model_is_loaded(loading: Loading) -> None:
    """`prefill_ahead` neither loads the model nor waits for it."""
    loading.engine.prefill_ahead(SYSTEM)
    assert loading.open_count == 0
    loading.may_finish.set()


@pytest.mark.parametrize("error", [ServerUnavailable("down"), ServerBusy("full"), KeyRefused("wrong")])
def test_a_failure_of_a_server_can_be_retried(error: HermesError) -> None:
    """The server may be running by the next message."""
    errors: list[HermesError | None] = [error, None]
    inner = ScriptedEngine(["Hello."], context_size=512)

    def opener(_report: object, _notify: object, _cancel: Cancel) -> ScriptedEngine:
        if (now := errors.pop(0)) is not None:
            raise now
        return inner

    engine = BackgroundEngine(opener, name="planned", context_size=0)
    with pytest.raises(type(error)):
        engine.opened()
    assert engine.can_retry
    engine.retry()
    assert engine.opened() is inner
    assert (engine.failure, engine.can_retry) == (None, False)


def test_another_failure_is_not_retried() -> None:
    """A file that is damaged stays damaged."""
    loading = Loading(ModelUnavailable("the file is cut short"))
    loading.may_finish.set()
    with pytest.raises(ModelUnavailable):
        loading.engine.opened()
    loading.engine.retry()
    assert loading.open_count == 1
    assert loading.engine.failure is not None
