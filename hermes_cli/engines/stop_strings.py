"""Incremental search for stop strings in a stream of text. No part of a stop string is ever shown.

`feed` takes the pieces as they arrive, `flush` returns the text that was held back. The result does not
depend on how the text is cut into pieces.
"""

from collections.abc import Sequence


class StopScanner:
    """A filter that passes text on until it contains one of the stop strings."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Add the next piece and return the text that can be shown, which is empty after a stop string."""
        if self.found or not self._stops:
            return "" if self.found else text
        self._held += text
        # Take the match that ends first, as a letter-by-letter search would; if two end together, the longer.
        found = [(i + len(stop), i) for stop in self._stops if (i := self._held.find(stop)) >= 0]
        if found:
            self.found = True
            shown, self._held = self._held[: min(found)[1]], ""
            return shown
        keep = self._beginning_of_a_stop()
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def _beginning_of_a_stop(self) -> int:
        """Return how many characters at the end of the held text may begin a stop string."""
        for size in range(min(self._longest - 1, len(self._held)), 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0

    def flush(self) -> str:
        """Return the text that was held back, at the end of the stream."""
        held, self._held = self._held, ""
        return held
