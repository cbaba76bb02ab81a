"""An engine that loads on a thread, so that the user can type meanwhile.

A call that needs the model waits until it is loaded.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason, PromptToken
from hermes_cli.messages import Message
from hermes_cli.options import GenerationOptions

POLL_S = 0.05


class BackgroundEngine:
    """An engine that is opened once, by `start` or by the first call that needs it.

    `name` and `context_size` are reported until the model is loaded; a size of 0 means unknown. `progress` is
    how much of the model is loaded and how much there is in total, as the opener reports it.
    """

    def __init__(
        self,
        opener: Callable[[Callable[[int, int], None]], Engine],
        *,
        name: str,
        context_size: int,
    ) -> None:
        self._opener = opener
        self._name = name
        self._context_size = context_size
        self._engine: Engine | None = None
        self._failure: Exception | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.progress = (0, 0)

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._engine.name if self._engine else self._name

    @property
    def context_size(self) -> int:
        """The context window in tokens; until the model is loaded, the planned one."""
        return self._engine.context_size if self._engine else self._context_size

    def is_loading(self) -> bool:
        """Return whether loading has neither finished nor failed."""
        return not self._ended.is_set()

    @property
    def failure(self) -> Exception | None:
        """The error that loading raised, or None."""
        return self._failure

    def start(self) -> None:
        """Start to load the model, unless that has already started."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name="load", daemon=True)
            self._thread.start()

    def _load(self) -> None:
        try:
            self._engine = self._opener(self._report)
        except Exception as error:  # noqa: BLE001 - `opened` raises it
            self._failure = error
        finally:
            self._ended.set()

    def _report(self, done: int, total: int) -> None:
        self.progress = (done, total)

    def opened(self) -> Engine:
        """Wait for the engine and return it. Ctrl-C may end the wait.

        Raises the error that the opener raised.
        """
        self.start()
        while not self._ended.wait(POLL_S):  # short waits: signal handlers run between them
            pass
        if self._engine is None:
            raise self._failure or RuntimeError("the engine ended while it was opened")
        return self._engine

    def wait(self, cancel: Cancel) -> bool:
        """Wait until loading has finished or failed; return False if a cancel came first."""
        self.start()
        while not self._ended.wait(POLL_S):
            if cancel.is_set():
                return False
        return True

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer as soon as the model is loaded. A cancel also ends the wait."""
        if self._engine is not None:
            return self._engine.stream(messages, options, cancel)
        return self._stream_later(messages, options, cancel)

    def _stream_later(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        if not self.wait(cancel):
            yield Chunk("", Completion(FinishReason.CANCELLED))
            return
        yield from self.opened().stream(messages, options, cancel)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Wait for the model and return the number of tokens of the prompt."""
        return self.opened().count_tokens(messages)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Wait for the model and return the tokens of the prompt."""
        return self.opened().prompt_tokens(messages)

    def close(self) -> None:
        """Free the model. If it is still loading, wait until it is loaded."""
        if self._thread is None:
            return
        while not self._ended.wait(POLL_S):
            pass
        if self._engine is not None:
            self._engine.close()


def is_ready(engine: Engine, cancel: Cancel) -> bool:
    """Wait until an engine is loaded, or could not be loaded.

    Return False if a cancel ended the wait.
    """
    return engine.wait(cancel) if isinstance(engine, BackgroundEngine) else True
