"""Banned phrases: text that an answer must not contain, found across tokens before any of it is shown.

The scan is incremental, like that of `stops.py`. It only reports which tokens to take back; the engine
generates others in their place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hermes_cli.errors import UsageError
from hermes_cli.options import GenerationOptions


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
