"""Reads the lorebook in a character card, `character_book`.

Sources: the Character Card V2 and V3 specifications, and for an entry's `extensions` SillyTavern.
`book_write.py` writes it.
"""

from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import decorators
from hermes_cli.personas.formats.fields import Fields
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position

MAX_ENTRIES: Final = 10_000
MOST: Final = 10**9
"""The limit of orders, priorities, depths and numbers of messages."""
DEFAULT_DEPTH: Final = 4
DEFAULT_ORDER: Final = 100
LOGICS: Final = (Logic.AND_ANY, Logic.NOT_ALL, Logic.NOT_ANY, Logic.AND_ALL)
"""Indexed by SillyTavern's `selectiveLogic`."""
BEFORE, AFTER, NOTE_TOP, NOTE_BOTTOM, AT_DEPTH, EXAMPLES_TOP, EXAMPLES_BOTTOM, OUTLET = range(8)
"""SillyTavern's positions of an entry."""
SILLYTAVERN_KEYS: Final = frozenset({"selectiveLogic", "display_index", "position"})
_UNUSED: Final = ("group", "vectorized", "triggers", "character_filter")
"""Features of SillyTavern's entries that hermes does not support."""


def read(book: Fields, source: Path) -> Lorebook:
    """Return a card's lorebook. Raises PersonaError if it has too many entries."""
    return Lorebook(
        entries=tuple(entry(raw, book.remarks) for raw in raw_entries(book, source)),
        name=book.line("name"),
        description=book.text("description") if book.text("description").strip() else "",
        scan_depth=book.whole("scan_depth", 0, MOST),
        token_budget=book.whole("token_budget", 0, MOST),
        recursive=book.flag("recursive_scanning"),
    )


def raw_entries(book: Fields, source: Path) -> list[dict[str, Any]]:
    """Return the unparsed entries of a lorebook. Raises PersonaError if there are too many."""
    raws = book.tables("entries")
    if len(raws) > MAX_ENTRIES:
        raise PersonaError(
            f"{source}: its lorebook has {len(raws):,} entries; hermes reads {MAX_ENTRIES:,}",
            "split it into several world files",
        )
    return raws


def entry(raw: dict[str, Any], remarks: Remarks) -> LoreEntry:
    """Return an entry of a card's lorebook."""
    fields = Fields(raw, remarks, "entry.")
    more = fields.inner("extensions")
    order = fields.whole("insertion_order", -MOST, MOST)
    order = DEFAULT_ORDER if order is None else order
    priority = fields.whole("priority", -MOST, MOST)
    position, depth, is_placed = _position(fields, more)
    keys, secondary = _keys(fields)
    for key in _UNUSED:
        if more.table.get(key):
            remarks.add(f"entries have '{key}', which hermes does not use")
    cased = fields.flag_or_none("case_sensitive")
    found = LoreEntry(
        content=fields.text("content"),
        keys=keys,
        name=fields.line("name") or fields.line("comment"),
        enabled=fields.flag("enabled", default=True) and is_placed,
        secondary=secondary,
        logic=LOGICS[more.whole("selectiveLogic", 0, len(LOGICS) - 1) or 0],
        constant=fields.flag("constant"),
        order=order,
        priority=order if priority is None else priority,
        position=position,
        depth=depth,
        case_sensitive=more.flag_or_none("case_sensitive") if cased is None else cased,
        whole_words=more.flag_or_none("match_whole_words"),
        scan_depth=more.whole("scan_depth", 0, MOST),
        probability=_probability(more),
        sticky=more.whole("sticky", 0, MOST) or 0,
        cooldown=more.whole("cooldown", 0, MOST) or 0,
        delay=more.whole("delay", 0, MOST) or 0,
        recursable=not more.flag("exclude_recursion"),
        recurses=not more.flag("prevent_recursion"),
        only_recursion=more.flag("delay_until_recursion"),
        ignores_budget=more.flag("ignore_budget"),
    )
    decorated = decorators.split(found.content)
    return decorators.apply(found, decorated, remarks) if decorated.said or decorated.others else found


def is_pattern(key: str) -> bool:
    """Return whether a key is a regular expression between slashes, with optional flags."""
    return (
        len(key) > len("//") and key.startswith("/") and key.rpartition("/")[2].isalpha() | key.endswith("/")
    )


def _keys(fields: Fields) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return keys and secondary keys.

    In the specification, `use_regex` means that every key is a pattern and that there are no secondary keys.
    SillyTavern sets it on every entry, and only keys between slashes are patterns. SILLYTAVERN_KEYS identify
    its entries.
    """
    keys = tuple(key for key in fields.texts("keys") if key.strip())
    is_sillytavern = not SILLYTAVERN_KEYS.isdisjoint(fields.inner("extensions").table)
    if fields.flag("use_regex") and not is_sillytavern:
        flags = "i" if fields.table.get("case_sensitive") is False else ""
        return tuple(key if is_pattern(key) else f"/{_escaped(key)}/{flags}" for key in keys), ()
    secondary = tuple(key for key in fields.texts("secondary_keys") if key.strip())
    return keys, secondary if fields.flag("selective") else ()


def _escaped(pattern: str) -> str:
    """Return a pattern with its slashes escaped. The pattern contains no NUL."""
    hidden = pattern.replace("\\\\", "\0b").replace("\\/", "\0s").replace("/", "\\/")
    return hidden.replace("\0s", "\\/").replace("\0b", "\\\\")


def _position(fields: Fields, more: Fields) -> tuple[Position, int, bool]:
    """Return position, depth, and whether hermes supports that position."""
    depth = more.whole("depth", 0, MOST)
    depth = DEFAULT_DEPTH if depth is None else depth
    place = more.whole("position", BEFORE, OUTLET)
    if place is None:
        is_before = fields.table.get("position") == "before_char"
        return (Position.BEFORE if is_before else Position.AFTER), depth, True
    if place in {NOTE_TOP, NOTE_BOTTOM}:
        return Position.DEPTH, DEFAULT_DEPTH, True
    if place == AT_DEPTH:
        return Position.DEPTH, depth, True
    if place == OUTLET:
        fields.remarks.add("entries that stand in an outlet are off: hermes has none")
    return (Position.BEFORE if place == BEFORE else Position.AFTER), depth, place != OUTLET


def _probability(more: Fields) -> float:
    found = more.number("probability", 0, 100)
    return 100.0 if found is None or not more.flag("useProbability", default=True) else found
