"""Filters for a stream of generated text: stop strings, banned phrases, and the loop guard.

Each is incremental: its result does not depend on how the text is cut into pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hermes_cli.errors import UsageError
from hermes_cli.options import GenerationOptions


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


NGRAM = 4
"""A repeated sequence of this many ids is a possible beginning of a loop."""
MAX_PERIODS = 32
WHOLE_REPEATS = 2
"""Times that a period must be repeated after its first occurrence: a refrain that comes twice is no loop."""


class LoopGuard:
    """A loop detector for one answer. `limit` is how many repeated ids make a loop; 0 disables the guard."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: list[int] = []
        self._last_seen: dict[tuple[int, ...], int] = {}
        self._runs: dict[int, int] = {}

    def feed(self, token: int) -> bool:
        """Add the next id and return whether the answer is in a loop."""
        if not self._limit:
            return False
        ids = self._ids
        ids.append(token)
        end = len(ids) - 1
        # By period: the number of ids in a row, up to this one, that equal the id one period earlier.
        self._runs = {p: run + 1 for p, run in self._runs.items() if ids[end - p] == token}
        ngram = tuple(ids[-NGRAM:])
        if len(ngram) == NGRAM:
            before = self._last_seen.get(ngram)
            if before is not None and len(self._runs) < MAX_PERIODS:
                self._runs.setdefault(end - before, NGRAM)
            self._last_seen[ngram] = end
        return any(run >= max(self._limit, WHOLE_REPEATS * period) for period, run in self._runs.items())


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole characters of an answer, and the token ids that they come from."""

    text: str
    ids: tuple[int, ...]


class PhraseBan:
    """A scanner that holds back text that may begin a banned phrase. It ignores case."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = tuple(_folded(phrase) for phrase in phrases)
        self._held: list[Piece] = []

    def holds(self, text: str) -> bool:
        """Return whether a text contains a banned phrase."""
        folded = _folded(text)
        return any(phrase in folded for phrase in self._phrases)

    def feed(self, piece: Piece) -> tuple[list[Piece], list[Piece]]:
        """Add the next piece; return the pieces that can be shown, and those that must be taken back.

        If there are pieces to take back, the phrase begins in the first of them.
        """
        if not self._phrases:
            return [piece], []
        self._held.append(piece)
        text = _folded("".join(held.text for held in self._held))
        found = [at for phrase in self._phrases if (at := text.find(phrase)) >= 0]
        safe = min(found) if found else len(text) - self._beginning_of_a_phrase(text)
        count = sum(1 for end in self._ends() if end <= safe)
        shown, rest = self._held[:count], self._held[count:]
        self._held = [] if found else rest
        return shown, rest if found else []

    def _ends(self) -> Iterator[int]:
        """Yield the end position of each held piece in the held text."""
        end = 0
        for piece in self._held:
            end += len(piece.text)
            yield end

    def _beginning_of_a_phrase(self, text: str) -> int:
        longest = max(map(len, self._phrases)) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(phrase.startswith(text[-size:]) for phrase in self._phrases):
                return size
        return 0

    def flush(self) -> list[Piece]:
        """Return the pieces that were held back, at the end of the text."""
        held, self._held = self._held, []
        return held


def refuse_ban(options: GenerationOptions, engine: str) -> None:
    """Raise UsageError if phrases are banned. For engines that cannot take back tokens."""
    if options.ban:
        raise UsageError(
            f"{engine} cannot take back what it has said, so it cannot keep 'ban'",
            "take it out, or choose a model that runs on transformers",
        )


def _folded(text: str) -> str:
    """Return the text in lower case, character for character, so that positions do not change."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)
