"""The link definitions that a leaf may use, and the labels that were used before their definition."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hermes_cli.screen.markdown.block_structure import References

_BRACKETS = re.compile(r"\[[^\[\]]*\]")
_BRACKET_OR_ESCAPE = re.compile(r"\\.|[\[\]]")


class ReferencesAbove(Mapping[str, Mapping[str, Any]]):
    """The definitions of `above`, and those of `tail` that begin above the line `end`. Nothing is copied."""

    def __init__(self, above: References, tail: References, end: int) -> None:
        self._above = above
        self._tail = tail
        self._end = end

    def __getitem__(self, label: str) -> Mapping[str, Any]:
        link = self._tail.get(label)
        return link if link is not None and link["map"][0] < self._end else self._above[label]

    def __iter__(self) -> Iterator[str]:
        return (label for label in {**self._above, **self._tail} if label in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class UsedLabels:
    """The texts in brackets, each with the number of characters up to its first occurrence."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}
        self._dropped = 0
        self._open_text = ""

    def drop(self, text: str) -> None:
        """Keep the labels of a text that is removed from the beginning of the tail."""
        self._add(text)
        unclosed = self._open_text + text
        self._dropped += len(text)
        self._open_text = unclosed[unclosed.rfind("[") :] if unclosed.rfind("[") > unclosed.rfind("]") else ""

    def within(self, tail: str) -> "UsedLabels":
        """Return these labels and those of the tail."""
        labels = UsedLabels()
        labels._ends, labels._dropped, labels._open_text = dict(self._ends), self._dropped, self._open_text
        labels._add(tail)
        return labels

    def is_used(self, label: str, place: int) -> bool:
        """Return whether a label occurs in brackets above the tail, or in its first `place` characters."""
        end = self._ends.get(_normalized(f"[{label}]"))
        return end is not None and end <= self._dropped + place

    def _add(self, text: str) -> None:
        """Add the labels of a text that begins after the dropped text."""
        begin = self._dropped - len(self._open_text)
        for label, end in _in_brackets(self._open_text + text):
            key = _normalized(label)
            self._ends[key] = min(self._ends.get(key, begin + end), begin + end)


def _in_brackets(text: str) -> Iterator[tuple[str, int]]:
    """Yield the texts in brackets that contain no brackets except escaped ones, each with its end."""
    for found in _BRACKETS.finditer(text):
        yield found[0], found.end()
    if "\\[" not in text and "\\]" not in text:
        return
    begin = -1
    for found in _BRACKET_OR_ESCAPE.finditer(text):
        if found[0] == "[":
            begin = found.start()
        elif found[0] == "]" and begin >= 0:
            yield text[begin : found.end()], found.end()
            begin = -1


def _normalized(text: str) -> str:
    return " ".join(text.split()).casefold()
