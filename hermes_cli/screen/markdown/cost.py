"""Estimates the time that Markdown takes to render, so that hostile text is not rendered for seconds."""

from typing import Final

_COSTS_US: Final = {
    "\n": 130,
    "@": 70,
    "[": 50,
    "!": 40,
    "(": 30,
    "|": 30,
    "*": 25,
    "_": 25,
    "~": 25,
    "<": 25,
    "`": 10,
    '"': 10,
    "&": 10,
    "\\": 10,
}
"""By character: the CPU time in microseconds of the slowest text made of it, divided by its occurrences.

A line break counts as a list item. Any other character takes one microsecond.
"""


def estimated_cost(text: str) -> int:
    """Return an upper estimate of the CPU time in microseconds that rendering the text at once takes.

    The cost of a text is the sum of the costs of its pieces.
    """
    return len(text) + sum(cost * text.count(character) for character, cost in _COSTS_US.items())


class Allowance:
    """The characters, and the estimated CPU time in microseconds, that are left for Markdown."""

    def __init__(self, length: int, cost_us: int) -> None:
        self._length = length
        self._cost_us = cost_us

    def take(self, text: str) -> str:
        """Return the longest beginning of the text that is within the allowance, and subtract it."""
        taken = text if self._covers(text) else text[: self._covered_length(text)]
        self._length -= len(taken)
        self._cost_us -= estimated_cost(taken)
        return taken

    def _covers(self, text: str) -> bool:
        return len(text) <= self._length and estimated_cost(text) <= self._cost_us

    def _covered_length(self, text: str) -> int:
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self._covers(text[:middle]):
                low = middle
            else:
                high = middle - 1
        return low
