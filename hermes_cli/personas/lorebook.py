"""Lorebook: what a world knows, in entries that are told when a word of theirs comes up. Frozen values.

It knows the fields of an entry, as character cards and SillyTavern's world files have them. It refuses to
know which file they came from, and when an entry fires: `chat/lore.py` does.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

EXCERPT: Final = 30


class Logic(StrEnum):
    """What the secondary keys must do, once a key has come up."""

    AND_ANY = "and-any"  # one of them comes up, too
    AND_ALL = "and-all"  # all of them do
    NOT_ANY = "not-any"  # none of them does
    NOT_ALL = "not-all"  # at least one of them does not


class Position(StrEnum):
    """Where an entry is put: before or after the character's description, or `depth` turns from the end."""

    BEFORE = "before"
    AFTER = "after"
    DEPTH = "depth"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. A key is plain text, or a regular expression between slashes with its flags: `/dra+gon/i`.

    `constant` is told always; `order` is where it stands among others that are told, lower first; `priority`
    is who stays where the token budget is short, higher first. `case_sensitive`, `whole_words` and
    `scan_depth` are the book's where they are None. `probability` is in percent. `sticky`, `cooldown` and
    `delay` count messages: for how long it stays once it fired, how long it then rests, and how many there
    must be before it can fire. `recursable` says that other entries' texts may fire it, `recurses` that its
    own may fire others, and `only_recursion` that nothing else can fire it.
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
        """What a person calls it: its name, or else its first key, or how it begins."""
        begins = " ".join(self.content[: 2 * EXCERPT].split())[:EXCERPT]
        return self.name or next(iter(self.keys), "") or begins


@dataclass(frozen=True, slots=True)
class Lorebook:
    """A book of entries.

    `scan_depth` is how many of the last messages are looked through, `token_budget` how many tokens all that
    is told may have; None leaves both to hermes. With `recursive` what is told may fire further entries.
    """

    entries: tuple[Entry, ...] = ()
    name: str = ""
    description: str = ""
    scan_depth: int | None = None
    token_budget: int | None = None
    recursive: bool = False
    source: Path | None = None
