"""Finds the plain keys that may occur in a text, in one pass over the text."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from hermes_cli.untrusted.deadline import Deadline

_GRAM: Final = 4
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
    """A text to search, with the keys that may occur in it. `results` holds the searches so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = fold(text)
        self.results = dict[tuple[str, bool, bool], bool]()
        self.possible_keys: set[str] | None = None


class KeyIndex:
    """An index of plain keys by their first four letters, regardless of case."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = defaultdict[str, list[str]](list)
        self.count = 0
        for key in keys:
            if stripped := key.strip():
                self._keys[fold(stripped[:_GRAM])].append(key)
                self.count += 1
        self._lengths = sorted({len(start) for start in self._keys})

    def possible_keys(self, scanned: ScannedText, deadline: Deadline) -> set[str]:
        """Return the keys that occur in the text, and perhaps some that do not.

        Stop at the deadline, and add the number of searched keys to `deadline.skipped`.
        """
        if scanned.possible_keys is None:
            scanned.possible_keys = set(self._search(scanned.folded, deadline))
        return scanned.possible_keys

    def _search(self, folded: str, deadline: Deadline) -> Iterable[str]:
        starts = set[str]()
        for begin in range(0, len(folded), _CHUNK):
            if deadline.is_over:
                break
            chunk = folded[begin : begin + _CHUNK + _GRAM - 1]
            for length in self._lengths:
                starts |= self._keys.keys() & {chunk[i : i + length] for i in range(len(chunk))}
        left_out = 0
        for start in starts:
            for key in self._keys[start]:
                if deadline.is_over:
                    left_out += 1
                elif fold(key.strip()) in folded:
                    yield key
        if self.count and deadline.is_over:
            searched = self.count - left_out if starts else 0
            deadline.skipped["lorebook"] = (
                f"searched {searched:,} of {self.count:,} keys in {deadline.seconds:g} s"
            )
