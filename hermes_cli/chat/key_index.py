"""Finds the plain keys that may occur in a text, in one pass over the text."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from hermes_cli.untrusted.deadline import Deadline

_GRAM: Final = 4
_BATCH: Final = 32
"""Keys that are searched between two looks at the clock."""
_CHUNK: Final = 1 << 16
"""Characters of the text whose pieces are in memory at the same time."""


def fold(text: str) -> str:
    """Return the text with all letters that differ only in case made equal, and the same length.

    Letters that differ otherwise may become equal too, for example `ß` and `s`.
    """
    if text.isascii():
        return text.lower()
    return text.translate({ord(c): _folded(c) for c in set(text)})


def _folded(character: str) -> str:
    return "i" if character in "ıİ" else character.casefold()[0]


class ScannedText:
    """A text to search. `results` holds the searches for single keys so far.

    `places` is the result of KeyIndex.places, and `possible_keys` are the keys there.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = fold(text)
        self.results = dict[tuple[str, bool, bool], bool]()
        self.places: list[int] | None = None
        self.possible_keys: set[str] | None = None


class KeyIndex:
    """An index of plain keys by their first four letters, regardless of case."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        starts = [key.strip()[:_GRAM] for key in keys]
        folded = fold("".join(starts))  # one call for all keys, because each call takes long
        ends = accumulate(map(len, starts))
        shared = dict[str, str]()  # equal starts are one string, because there may be 200,000 keys
        self._starts = [
            shared.setdefault(start, start)
            for start in (folded[end - len(start) : end] for start, end in zip(starts, ends, strict=True))
        ]
        self._lengths = sorted({len(start) for start in shared if start})

    def places(self, scanned: ScannedText, deadline: Deadline) -> list[int]:
        """Return the indices of the keys that occur in the text, and perhaps of some that do not.

        Stop at the deadline, and add the number of searched keys to `deadline.skipped`.
        """
        if scanned.places is None:
            scanned.places = self._search(scanned.folded, deadline)
        return scanned.places

    def _search(self, folded: str, deadline: Deadline) -> list[int]:
        grams = set[str]()
        for begin in range(0, len(folded), _CHUNK):
            chunk = folded[begin : begin + _CHUNK + _GRAM - 1]
            for length in () if deadline.is_over else self._lengths:
                grams |= {chunk[i : i + length] for i in range(len(chunk))}
        hits = [place for place, start in enumerate(self._starts) if start in grams]
        found, occurs = list[int](), dict[str, bool]()
        for count, place in enumerate(hits):
            if count % _BATCH == 0 and deadline.is_over:
                searched = len(self._keys) - len(hits) + count
                what = f"searched {searched:,} of {len(self._keys):,} keys in {deadline.seconds:g} s"
                deadline.skipped.setdefault("lorebook", what)
                break
            word = self._keys[place].strip()
            if word not in occurs:
                occurs[word] = len(word) <= len(folded) and fold(word) in folded
            if occurs[word]:
                found.append(place)
        return found
