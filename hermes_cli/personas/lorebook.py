"""Immutable lorebooks and their entries.

The fields are those of character cards and SillyTavern's world files. `chat/lore.py` determines when an entry
fires.
"""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from hermes_cli.messages import Role

EXCERPT: Final = 30
PERSONA_TEXTS: Final = {
    "user": "persona",
    "character": "description",
    "personality": "personality",
    "note": "chardepthprompt",
    "scenario": "scenario",
    "creator_notes": "creatornotes",
}
"""The texts that an entry can search in addition to the chat, each with the macro that inserts the text."""


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


class LoreEntry(NamedTuple):
    """A lore entry. A key is plain text, or a regular expression between slashes, such as `/dra+gon/i`.

    A `constant` entry fires without a key. `order` sorts the entries in the prompt, lowest first. If the
    token budget is too small, entries with a higher `priority` are kept. If `case_sensitive` is None, it
    counts as false; if `whole_words` or `scan_depth` is None, the lorebook's value applies. `role` is that of
    the message at the position DEPTH; everywhere else it is the system's. `probability` is in percent.
    `sticky`, `cooldown` and `delay` count messages: how long the entry stays active after it fires, how long
    it then cannot fire, and how many messages must precede it. `after_answers` counts the character's
    messages that must precede it. `greeting` is the index of the greeting that the chat must begin with.

    If `recursable` is true, the text of other entries can fire it; if `only_recursion` is true, it can fire
    only after another entry, together with the other entries of its `recursion_level`. If `recurses` is true,
    its text can fire other entries. Its keys are also searched in the persona's texts in `matches`, which are
    keys of PERSONA_TEXTS. It is used for the `characters` only, if there are any, and not for the
    `except_characters`.

    Of the entries in the same one of `groups`, only one fires at a turn (`chat/lore_groups.py`). If
    `group_scoring` is true, an entry is left out if another one has more matching keys. An entry with
    `group_override` is preferred; otherwise one is drawn by `group_weight`.
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
    role: Role = Role.SYSTEM
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    scan_depth: int | None = None
    probability: float = 100.0
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    after_answers: int = 0
    greeting: int | None = None
    recursable: bool = True
    recurses: bool = True
    only_recursion: bool = False
    recursion_level: int = 1
    ignores_budget: bool = False
    groups: tuple[str, ...] = ()
    group_weight: int = 100
    group_override: bool = False
    group_scoring: bool = False
    characters: tuple[str, ...] = ()
    except_characters: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The title to display: the entry's name, or else its first key, or else the start of its content."""
        start = " ".join(self.content[: 2 * EXCERPT].split())[:EXCERPT]
        return self.name or next(iter(self.keys), "") or start


class Lorebook(NamedTuple):
    """A collection of lore entries.

    `scan_depth`, `recursive`, `whole_words` and `share` override the value in LoreSettings, if they are not
    None. `token_budget` limits the total tokens of the active entries.
    """

    entries: tuple[LoreEntry, ...] = ()
    name: str = ""
    description: str = ""
    scan_depth: int | None = None
    token_budget: int | None = None
    recursive: bool | None = None
    whole_words: bool | None = None
    share: int | None = None
    source: Path | None = None


def labels(books: Iterable[Lorebook]) -> list[str]:
    """Return a unique name for each entry of the books: its title, with a number if others have it, too."""
    titles = [entry.title for book in books for entry in book.entries]
    counts, numbers, taken = Counter(titles), Counter[str](), set(titles)
    result = list[str]()
    for title in titles:
        label = title
        while counts[title] > 1 and label in taken:
            numbers[title] += 1
            label = f"{title} #{numbers[title]}"
        result.append(label)
    return result


def without_duplicates(books: Iterable[Lorebook]) -> tuple[Lorebook, ...]:
    """Return the lorebooks without the entries whose content another lorebook already has.

    The first entry is kept, and the keys of the others are added to it. Entries with different secondary keys
    are kept, because they fire under different conditions, and so are disabled ones. A lorebook that has no
    other entries is left out.
    """
    books = tuple(books)
    merged = [list(book.entries) for book in books]
    places = dict[tuple[object, ...], tuple[int, int]]()
    for number, book in enumerate(books):
        kept = list[LoreEntry]()
        for entry in book.entries:
            text = " ".join(entry.content.split())
            identity = (
                text,
                frozenset(entry.secondary),
                entry.logic,
                entry.characters,
                entry.except_characters,
            )
            first = places.get(identity) if entry.enabled and text else None
            if first is None or first[0] == number:
                if entry.enabled and first is None:
                    places[identity] = number, len(kept)
                kept.append(entry)
                continue
            earlier = merged[first[0]][first[1]]
            keys = tuple(dict.fromkeys((*earlier.keys, *entry.keys)))
            constant = earlier.constant or entry.constant
            merged[first[0]][first[1]] = earlier._replace(keys=keys, constant=constant)
        merged[number] = kept
    return tuple(
        book if tuple(entries) == book.entries else book._replace(entries=tuple(entries))
        for book, entries in zip(books, merged, strict=True)
        if entries or not book.entries
    )
