"""Stop strings over a stream of text: found wherever they lie, never shown, not even in part.

Pure and incremental: `feed` takes the pieces as they come, `flush` gives what was held back. Any way of
cutting a text into pieces gives the same result.
"""

from collections.abc import Sequence


class StopScanner:
    """Passes text on until one of the stop strings appears in it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Take the next piece and return what can be shown. After a stop string: nothing more."""
        if self.found or not self._stops:
            return "" if self.found else text
        self._held += text
        # The one that is complete first, as it would be letter by letter; of two, the longer.
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
        """How many characters at the end might be the beginning of a stop string."""
        for size in range(min(self._longest - 1, len(self._held)), 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0

    def flush(self) -> str:
        """Return what was held back, now that no more text will come."""
        held, self._held = self._held, ""
        return held
