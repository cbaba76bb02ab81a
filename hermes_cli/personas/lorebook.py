"""Immutable lorebooks and their entries.

The fields are those of character cards and SillyTavern's world files. `chat/lore.py` determines when an entry
fires.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

EXCERPT: Final = 30


class Logic(StrEnum):
    """The condition that the secondary keys must meet after a key has matched."""

    AND_ANY = "and-any"  # at least one matches
    AND_ALL = "and-all"  # all match
    NOT_ANY = "not-any"  # none matches
    NOT_ALL = "not-all"  # at least one does not match


class Position(StrEnum):
    """The place of an entry: before or after the character's description, or `depth` turns from the end."""

    BEFORE = "before"
    AFTER = "after"
    DEPTH = "depth"


@dataclass(frozen=True, slots=True)
class LoreEntry:
    """A lore entry. A key is plain text, or a regular expression between slashes, such as `/dra+gon/i`.

    A `constant` entry fires without a key. `order` sorts the entries in the prompt, lowest first. If the
    token budget is too small, entries with a higher `priority` are kept. If `case_sensitive` or `whole_words`
    is None, it counts as false; if `scan_depth` is None, the lorebook's value applies. `probability` is in
    percent. `sticky`, `cooldown` and `delay` count messages: how long the entry stays active after it fires,
    how long it then cannot fire, and how many messages must precede it. If `recursable` is true, the text of
    other entries can fire it; if `only_recursion` is true, nothing else can. If `recurses` is true, its text
    can fire other entries.
    """

    content: str
    keys: tuple[str, ...] = ()
    name: str = ""
    enabled: bool = True
    secondary: tuple[str, ...] = ()
    logic: Logic = Logic.AND_ANY
    constant: bool = False
    order: int = 100
    priority: int = 0
    position: Position = Position.AFTER
    depth: int = 4
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    scan_depth: int | None = None
    probability: float = 100.0
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    recursable: bool = True
    recurses: bool = True
    only_recursion: bool = False
    ignores_budget: bool = False

    @property
    def title(self) -> str:
        """The title to display: the entry's name, or else its first key, or else the start of its content."""
        start = " ".join(self.content[: 2 * EXCERPT].split())[:EXCERPT]
        return self.name or next(iter(self.keys), "") or start


@dataclass(frozen=True, slots=True)
class Lorebook:
    """A collection of lore entries.

    `scan_depth` is the number of recent messages to scan, and `token_budget` limits the total tokens of the
    active entries; None selects hermes' default. If `recursive` is true, active entries may fire others.
    """

    entries: tuple[LoreEntry, ...] = ()
    name: str = ""
    description: str = ""
    scan_depth: int | None = None
    token_budget: int | None = None
    recursive: bool = False
    source: Path | None = None
