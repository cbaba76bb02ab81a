"""What a reader hands back: the persona or the lorebook of a file, and what a person should know of it."""

from dataclasses import dataclass
from typing import Final

from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.persona import Persona

_MOST: Final = 40
"""Remarks beyond these are counted: a hostile file could make one for each of its values."""
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in a file.

    `kind` is the name of its format. A card has a `persona`, its own book in it; a world file has a
    `lorebook`. `remarks` are sentences without their full stop.
    """

    kind: str
    persona: Persona | None
    lorebook: Lorebook | None
    remarks: tuple[str, ...]


class Remarks:
    """Remarks as they come up: each is told once, with how often it came up."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._beyond = 0

    def add(self, remark: str) -> None:
        """Take a remark."""
        remark = remark[:_LONGEST]
        if remark in self._counts or len(self._counts) < _MOST:
            self._counts[remark] = self._counts.get(remark, 0) + 1
        else:
            self._beyond += 1

    def told(self) -> tuple[str, ...]:
        """Return them in the order in which they came up."""
        lines = [text if n == 1 else f"{text} ({n:,} times)" for text, n in self._counts.items()]
        return (*lines, f"and {self._beyond:,} more of this kind") if self._beyond else tuple(lines)
