"""An engine that is opened on a thread, so that a person can type while the model loads.

It keeps the promises of an Engine: what is asked of it before the model is there waits. It refuses to know
which engine it opens.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason, PromptToken
from hermes_cli.messages import Message
from hermes_cli.options import GenerationOptions

POLL_S = 0.05


class BackgroundEngine:
    """Opens an engine once, at `start` or when it is first needed.

    `name` and `context_size` are what is known before; 0 for a size that is not. `progress` is how much of
    the model is there, of how much, as the opener reports it.
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
        """What the model calls itself."""
        return self._engine.name if self._engine else self._name

    @property
    def context_size(self) -> int:
        """The context window in tokens; before the model is there, what is planned."""
        return self._engine.context_size if self._engine else self._context_size

    def is_loading(self) -> bool:
        """Whether the model is still not there, and may yet be."""
        return not self._ended.is_set()

    @property
    def failure(self) -> Exception | None:
        """Why there is no model, where it could not be opened."""
        return self._failure

    def start(self) -> None:
        """Begin to load, where that has not begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name="load", daemon=True)
            self._thread.start()

    def _load(self) -> None:
        try:
            self._engine = self._opener(self._report)
        except Exception as error:  # noqa: BLE001 - raised where the engine is needed
            self._failure = error
        finally:
            self._ended.set()

    def _report(self, done: int, total: int) -> None:
        self.progress = (done, total)

    def opened(self) -> Engine:
        """Return the engine, once it is there. Raises what opening it raised; Ctrl-C may end the wait."""
        self.start()
        while not self._ended.wait(POLL_S):  # in short steps: a signal's handler runs between two
            pass
        if self._engine is None:
            raise self._failure or RuntimeError("the engine ended while it was opened")
        return self._engine

    def wait(self, cancel: Cancel) -> bool:
        """Wait until the model is there, or could not be opened; False where a cancel came first."""
        self.start()
        while not self._ended.wait(POLL_S):
            if cancel.is_set():
                return False
        return True

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer, once the model is there. A cancel ends the wait, too."""
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
        """Return how many tokens the prompt has, once the model is there."""
        return self.opened().count_tokens(messages)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the prompt token by token, once the model is there."""
        return self.opened().prompt_tokens(messages)

    def close(self) -> None:
        """Free the model. One that is loading is freed once it is there."""
        if self._thread is None:
            return
        while not self._ended.wait(POLL_S):
            pass
        if self._engine is not None:
            self._engine.close()


def is_ready(engine: Engine, cancel: Cancel) -> bool:
    """Whether an engine can be asked for anything now: one that is being opened is waited for.

    False where a cancel ended the wait.
    """
    return engine.wait(cancel) if isinstance(engine, BackgroundEngine) else True
