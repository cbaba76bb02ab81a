"""Completes a prompt without banned phrases: rewinds to the start of one, and generates another token."""

from collections.abc import Callable, Collection, Generator
from contextlib import closing
from typing import Any

from hermes_cli.engines.stream_filters import PhraseBan, Piece

Event = dict[str, Any]
"""An event of a completion; see `server.OnEvent`. Its ids are those of its whole text."""

Complete = Callable[[list[int], Collection[int]], Generator[Event]]
"""Starts a completion of the prompt followed by some ids, without generating certain ids.

The ids that it must not generate apply to each token. Closing the iterator stops the completion.
"""


class Rewinder:
    """The events of an answer from which banned phrases are removed. `complete` starts a completion.

    After a banned phrase, the completion is started again behind the ids before the phrase. The first id of
    the phrase is banned until that completion has generated a character; then it is started once more. Each
    start reuses the KV cache. `never` are the ids whose text contains a banned phrase.
    """

    def __init__(self, phrases: Collection[str], never: Collection[int], complete: Complete) -> None:
        self._ban = PhraseBan(tuple(phrases))
        self._never = frozenset(never)
        self._complete = complete
        self._ids: list[int] = []
        self._banned: dict[int, set[int]] = {}
        """Maps a position in the answer to the ids that began a banned phrase there."""

    def events(self) -> Generator[Event]:
        """Yield the events, without the pieces of text that a rewind removed. `generated` counts the rest."""
        is_first, goes_on = True, True
        while goes_on:
            goes_on = False
            here = self._banned.get(len(self._ids), set())
            with closing(self._complete([*self._ids], self._never | here)) as events:
                for event in events:
                    if "progress" in event:
                        if is_first:
                            yield event
                        continue
                    if "finish" in event:
                        yield from self._shown(self._ban.flush())
                        yield event | {"generated": len(self._ids) + (event["finish"] != "length")}
                        return
                    ready, removed = self._feed(event)
                    yield from self._shown(ready)
                    if goes_on := bool(removed or here):
                        break
            is_first = False
        yield from self._shown(self._ban.flush())  # cancelled

    def _feed(self, event: Event) -> tuple[list[Piece], list[Piece]]:
        """Add the text of an event. Return the pieces to show, and those that are removed."""
        self._ids += event["ids"]
        ready, removed = self._ban.feed(Piece(event["text"], tuple(event["ids"])))
        if removed:
            position = len(self._ids) - sum(len(piece.ids) for piece in removed)
            del self._ids[position:]
            self._banned = {at: ids for at, ids in self._banned.items() if at <= position}
            self._banned.setdefault(position, set()).add(removed[0].ids[0])
        return ready, removed

    def _shown(self, pieces: list[Piece]) -> Generator[Event]:
        for piece in pieces:
            yield {"text": piece.text, "ids": list(piece.ids), "generated": len(self._ids)}
