"""A scripted engine whose counts can wait, as those of a server that hangs."""

import time
from collections.abc import Callable, Sequence

from hermes_cli.engines.base import Cancel, RequestCancelled
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.messages import Message


class WaitingEngine(ScriptedEngine):
    """An engine that waits for a cancel if it has to count the tokens of some messages."""

    def __init__(
        self, turns: Sequence[ScriptedTurn | str], waits: Callable[[Sequence[Message]], bool]
    ) -> None:
        super().__init__(turns, 800)
        self._waits = waits

    def count_tokens(
        self, messages: Sequence[Message], limit: int | None = None, cancel: Cancel | None = None
    ) -> int:
        if self._waits(messages):
            assert cancel is not None
            while not cancel.is_set():
                time.sleep(0.01)
            raise RequestCancelled
        return super().count_tokens(messages, limit, cancel)
