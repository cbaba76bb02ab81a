"""The state of one answer during generation, shared by all engines.

It applies stop strings and the loop guard, and records which ids belong to which text.
"""

from collections.abc import Sequence

from hermes_cli.chatml import ChatML
from hermes_cli.engines.base import FinishReason
from hermes_cli.engines.stream_filters import LoopGuard, StopScanner
from hermes_cli.messages import TurnIds
from hermes_cli.options import GenerationOptions


class AnswerState:
    """One answer that is being generated. `reason` is None until a stop string or a loop ends it.

    `opening` holds the ids that the turn begins with, as returned by `ChatML.open_turn_ids`.
    """

    def __init__(self, chatml: ChatML, opening: Sequence[int], options: GenerationOptions) -> None:
        self.reason: FinishReason | None = None
        self._chatml = chatml
        self._opening = opening
        self._scanner = StopScanner(options.stop)
        self._guard = LoopGuard(options.loop_guard)
        self._pieces: list[tuple[str, Sequence[int]]] = []
        self._shown = 0

    def take(self, text: str, ids: Sequence[int]) -> str:
        """Add the next whole characters with their ids, and return the text that can be shown."""
        self._pieces.append((text, ids))
        shown = self._scanner.feed(text)
        self._shown += len(shown)
        looping = sum(self._guard.feed(token) for token in ids) > 0
        if self._scanner.found:
            self.reason = FinishReason.STOP
        elif looping:
            self.reason = FinishReason.LOOP
        return shown

    def flush(self) -> str:
        """Return the text that was held back because it might begin a stop string."""
        held = self._scanner.flush()
        self._shown += len(held)
        return held

    def turn_ids(self) -> TurnIds:
        """Return the ids of the text that was shown. A stop string may have cut the text inside a token."""
        ids: list[int] = []
        left = self._shown
        for text, piece_ids in self._pieces:
            if len(text) > left:
                ids += self._chatml.encode_after_newline(text[:left]) if left else []
                break
            ids += piece_ids
            left -= len(text)
        return self._chatml.generated(self._opening, ids)
