"""An engine that loads its model and prefills prompts on a thread, so that the user can type meanwhile.

Calls that need the model wait until it is loaded.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from hermes_cli.engines.base import (
    Cancel,
    Chunk,
    Completion,
    Engine,
    FinishReason,
    PromptToken,
    RequestCancelled,
)
from hermes_cli.errors import HermesError, KeyRefused, ServerBusy, ServerError, ServerUnavailable
from hermes_cli.messages import Message
from hermes_cli.options import GenerationOptions
from hermes_cli.placement import Placement

POLL_S = 0.05
SERVER_FAILURES = (KeyRefused, ServerBusy, ServerError, ServerUnavailable)
CLOSE_S = 2.0
"""Seconds that `close` waits for the current chunk of a prefill."""


class BackgroundEngine:
    """An engine that is opened on a thread, by `start` or by the first call that needs the model.

    Until the model is loaded, `name` and `context_size` are the planned values; a size of 0 means unknown.
    `progress` is the loaded and the total amount that `opener` last reported, `notices` are its messages for
    the user, and `failure` is the error that it raised. It may end early when its Cancel is set, by `close`.
    """

    def __init__(
        self,
        opener: Callable[[Callable[[int, int], None], Callable[[str], None], Cancel], Engine],
        *,
        name: str,
        context_size: int,
    ) -> None:
        self.name = name
        self._planned_context_size = context_size
        self.progress = (0, 0)
        self.notices: list[str] = []
        self.failure: Exception | None = None
        self._opener = opener
        self._closing = Cancel()
        self._engine: Engine | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._prefilling: _Prefill | None = None

    @classmethod
    def around(cls, engine: Engine) -> "BackgroundEngine":
        """Return one for an engine that is already loaded."""
        made = cls(
            lambda _report, _notify, _cancel: engine, name=engine.name, context_size=engine.context_size
        )
        made.opened()
        return made

    def is_loading(self) -> bool:
        """Return whether loading has neither finished nor failed."""
        return not self._ended.is_set()

    def start(self) -> None:
        """Start loading the model, unless loading has already started."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name="load", daemon=True)
            self._thread.start()

    @property
    def can_retry(self) -> bool:
        """Whether loading failed because of a server, which may answer by now."""
        return isinstance(self.failure, SERVER_FAILURES)

    def retry(self) -> None:
        """Start loading again after a failure of a server; do nothing after other failures."""
        if self.can_retry:
            self._ended.clear()
            self.failure = self._thread = None
            self.start()

    def _load(self) -> None:
        try:
            self._engine = engine = self._opener(self._report, self.notices.append, self._closing)
            self.name = engine.name
        except Exception as error:  # noqa: BLE001 - `opened` raises it
            self.failure = error
        finally:
            self._ended.set()

    def _report(self, done: int, total: int) -> None:
        self.progress = (done, total)

    @property
    def context_size(self) -> int:
        """The context window in tokens, or the planned one if the model is not loaded."""
        return self._engine.context_size if self._engine is not None else self._planned_context_size

    @property
    def max_context_size(self) -> int:
        """The longest context window of the model, or the planned one if the model is not loaded."""
        return self._engine.max_context_size if self._engine is not None else self.context_size

    @property
    def estimates_tokens(self) -> bool:
        """Whether token counts are estimates; False if the model is not loaded."""
        return self._engine is not None and self._engine.estimates_tokens

    @property
    def placement(self) -> Placement | None:
        """The placement of the layers, or None if it is unknown or the model is not loaded."""
        return self._engine.placement if self._engine is not None else None

    def opened(self, cancel: Cancel | None = None) -> Engine:
        """Wait until the engine is loaded, and return it. A signal handler can interrupt the wait.

        Raises the error that `opener` raised, and RequestCancelled if `cancel` was set first.
        """
        if not self.wait(cancel or Cancel()):
            raise RequestCancelled
        if self._engine is None:
            raise self.failure or RuntimeError("loading ended without a result")
        return self._engine

    def wait(self, cancel: Cancel) -> bool:
        """Start loading and wait until it finishes or fails. Return False if `cancel` was set first."""
        self.start()
        while not self._ended.wait(POLL_S):  # short waits: signal handlers run between them
            if cancel.is_set():
                return False
        return True

    def prefill_ahead(self, messages: Sequence[Message]) -> None:
        """Start to prefill `messages` on a thread, if the model is loaded.

        The next answer, or a call with other messages, ends it.
        """
        earlier = self._prefilling
        if self._engine is None or (earlier is not None and earlier.messages == messages):
            return
        if earlier is not None:
            earlier.cancel.set()
        self._prefilling = _Prefill(self._engine, messages, earlier)
        self._prefilling.start()

    def _stop_prefill(self, wait_s: float = 0.0) -> bool:
        """Cancel the prefill, and wait for the end of its current chunk. Return whether it has ended."""
        if self._prefilling is not None:
            self._prefilling.cancel.set()
            self._prefilling.join(wait_s)
            if self._prefilling.is_alive():
                return False
            self._prefilling = None
        return True

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer after the model is loaded. Setting `cancel` also ends the wait."""
        if self._engine is not None and self._stop_prefill():
            return self._engine.stream(messages, options, cancel)
        return self._stream_later(messages, options, cancel)

    def _stream_later(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        is_ready = self.wait(cancel)
        while is_ready and not self._stop_prefill(POLL_S):
            is_ready = not cancel.is_set()
        if not is_ready:
            yield Chunk("", Completion(FinishReason.CANCELLED))
            return
        yield from self.opened().stream(messages, options, cancel)

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        """Wait for the model, and evaluate the ids of the messages; see Engine.prefill."""
        if self.wait(cancel):
            self.opened().prefill(messages, cancel)

    def count_tokens(
        self, messages: Sequence[Message], limit: int | None = None, cancel: Cancel | None = None
    ) -> int:
        """Wait for the model, and return the number of tokens in the prompt for `messages`."""
        return self.opened(cancel).count_tokens(messages, limit, cancel)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Wait for the model, and return the tokens of the prompt for `messages`."""
        return self.opened().prompt_tokens(messages)

    def close(self) -> None:
        """Free the model. If it is still loading, wait until it is loaded, or the opener ends early."""
        self._closing.set()
        if self._thread is not None:
            self.wait(Cancel())
        if self._engine is not None:
            self._stop_prefill(CLOSE_S)
            self._engine.close()


class _Prefill(threading.Thread):
    """A prefill on a thread. It begins when the `earlier` one has ended."""

    def __init__(self, engine: Engine, messages: Sequence[Message], earlier: "_Prefill | None") -> None:
        super().__init__(name="prefill", daemon=True)
        self.messages = messages
        self.cancel = Cancel()
        self._engine = engine
        self._earlier = earlier

    def run(self) -> None:
        if self._earlier is not None:
            self._earlier.join()
            self._earlier = None
        with suppress(HermesError):  # the answer raises it again
            self._engine.prefill(self.messages, self.cancel)


def is_ready(engine: Engine, cancel: Cancel) -> bool:
    """Wait until an engine has loaded or failed to load. Return False if `cancel` was set first."""
    return engine.wait(cancel) if isinstance(engine, BackgroundEngine) else True
