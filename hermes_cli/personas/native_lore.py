"""Parses lorebooks in hermes' format: a [lorebook] table, and a [[lore]] table for each entry.

The same tables are in a persona's file and in a file of the lore folder.
"""

from pathlib import Path
from typing import Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.toml_reader import Table
from hermes_cli.textfiles import parse_toml

BOOK: Final = "lorebook"
ENTRIES: Final = "lore"
BOOK_KEYS: Final = ("name", "description", "scan_depth", "token_budget", "recursive")
ENTRY_KEYS: Final = (
    *("name", "keys", "content", "enabled", "constant", "secondary", "logic"),
    *("order", "priority", "position", "depth", "case_sensitive", "whole_words", "scan_depth"),
    *("probability", "sticky", "cooldown", "delay"),
    *("recursable", "recurses", "only_recursion", "ignores_budget"),
)
"""In the order in which `native_writer.py` writes them."""

MAX_NUMBER: Final = 10**9
_HINT: Final = 'write [[lore]], then keys = ["..."] and content = "..."'


def parse_lorebook(text: str, source: Path) -> Lorebook:
    """Parse the TOML `text` of a file in the lore folder.

    Raises PersonaError if the text is invalid.
    """
    table = Table(parse_toml(text, source, PersonaError), source)
    table.refuse_unknown((BOOK, ENTRIES))
    found = lorebook(table)
    if found is None:
        raise PersonaError(f"{source}: it has no entry", _HINT)
    return found


def lorebook(table: Table) -> Lorebook | None:
    """Return the lorebook in a file's table, or None if the file has none.

    Raises PersonaError.
    """
    if BOOK not in table.values and ENTRIES not in table.values:
        return None
    book = table.inner(BOOK, f"[{BOOK}]") if BOOK in table.values else Table({}, table.source)
    book.refuse_unknown(BOOK_KEYS)
    return Lorebook(
        entries=tuple(_entry(one) for one in table.tables(ENTRIES, ENTRIES, _HINT)),
        name=book.text("name"),
        description=book.text("description"),
        scan_depth=book.whole("scan_depth", None, 0, MAX_NUMBER),
        token_budget=book.whole("token_budget", None, 0, MAX_NUMBER),
        recursive=bool(book.flag("recursive", default=False)),
        source=table.source,
    )


def _entry(table: Table) -> LoreEntry:
    table.refuse_unknown(ENTRY_KEYS)
    if "content" not in table.values:
        raise table.lacks("content", _HINT)

    def flag(key: str, *, default: bool) -> bool:
        return bool(table.flag(key, default))

    def whole(key: str, default: int, low: int, high: int) -> int:
        return table.whole(key, default, low, high) or 0

    return LoreEntry(
        content=table.text("content"),
        keys=table.texts("keys"),
        name=table.text("name"),
        enabled=flag("enabled", default=True),
        secondary=table.texts("secondary"),
        logic=Logic(table.choice("logic", Logic.AND_ANY, tuple(Logic))),
        constant=flag("constant", default=False),
        order=whole("order", 100, -MAX_NUMBER, MAX_NUMBER),
        priority=whole("priority", 0, -MAX_NUMBER, MAX_NUMBER),
        position=Position(table.choice("position", Position.AFTER, tuple(Position))),
        depth=whole("depth", 4, 0, MAX_NUMBER),
        case_sensitive=table.flag("case_sensitive", None),
        whole_words=table.flag("whole_words", None),
        scan_depth=table.whole("scan_depth", None, 0, MAX_NUMBER),
        probability=table.percent("probability", 100.0),
        sticky=whole("sticky", 0, 0, MAX_NUMBER),
        cooldown=whole("cooldown", 0, 0, MAX_NUMBER),
        delay=whole("delay", 0, 0, MAX_NUMBER),
        recursable=flag("recursable", default=True),
        recurses=flag("recurses", default=True),
        only_recursion=flag("only_recursion", default=False),
        ignores_budget=flag("ignores_budget", default=False),
    )
