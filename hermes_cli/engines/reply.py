"""One answer in the making, for engines that make it token by token: what is shown, why it ends, its ids.

It knows stop strings, loops and which ids belong to which text. It refuses to know where tokens come from.
"""

from collections.abc import Sequence

from hermes_cli.chatml import ChatML
from hermes_cli.engines.base import FinishReason
from hermes_cli.engines.loops import LoopGuard
from hermes_cli.engines.stops import StopScanner
from hermes_cli.messages import TurnIds
from hermes_cli.options import GenerationOptions


class Reply:
    """Follows one answer. `reason` is None until what was said ends it.

    `opening` is the ids that the turn begins with, as `ChatML.open_turn_ids` gives them.
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
        """Take the next whole characters with their ids, and return what can be shown."""
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
        """Return the text that was held back as the possible beginning of a stop string."""
        held = self._scanner.flush()
        self._shown += len(held)
        return held

    def turn_ids(self) -> TurnIds:
        """Return the ids of the turn as it was shown: a stop string may have cut the text inside a token."""
        ids: list[int] = []
        left = self._shown
        for text, piece_ids in self._pieces:
            if len(text) > left:
                ids += self._chatml.encode_after_newline(text[:left]) if left else []
                break
            ids += piece_ids
            left -= len(text)
        return self._chatml.generated(self._opening, ids)
