"""Reads SillyTavern's world files, standalone lorebooks, and the lorebooks of other programs.

A world file stores its entries in an object. Their fields have the same meanings as in a card's lorebook, but
different names, so each entry is first converted to an entry of a card's lorebook.
"""

import re
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import book, other_worlds
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.untrusted.value import Value

SPEC: Final = "lorebook_v3"
_ENTRY_KEYS: Final = {
    "key": "keys",
    "keysecondary": "secondary_keys",
    "comment": "comment",
    "content": "content",
    "constant": "constant",
    "selective": "selective",
    "order": "insertion_order",
}
_CARD_EXTENSION_KEYS: Final = (
    *("position", "depth", "probability", "exclude_recursion", "prevent_recursion", "delay_until_recursion"),
    *("scan_depth", "case_sensitive", "match_whole_words", "sticky", "cooldown", "delay"),
    *(
        "group",
        "group_weight",
        "group_override",
        "use_group_scoring",
        "vectorized",
        "triggers",
        "ignore_budget",
        "selectiveLogic",
        "useProbability",
    ),
    *("role", "automation_id", "character_filter", *book.MATCH_FLAGS),
)
"""Keys of an entry's `extensions` in a card. A world file has the same keys in camel case."""
_EXTENSION_KEYS: Final = {
    key: re.sub("_([a-z])", lambda match: match[1].upper(), key) for key in _CARD_EXTENSION_KEYS
}


def is_world(document: dict[str, Any]) -> bool:
    """Return whether a JSON document is a world file, or a standalone lorebook."""
    has_entries = isinstance(document.get("entries"), dict | list)
    return document.get("spec") == SPEC or has_entries or bool(other_worlds.program_of(document))


def read(document: dict[str, Any], source: Path, remarks: Remarks) -> Lorebook:
    """Return the lorebook in a document. Raises PersonaError if it has too many entries."""
    table = Value(document, remarks)
    if document.get("spec") == SPEC:
        table = table.get("data").table()
    elif other_worlds.program_of(document):
        table = Value(other_worlds.as_card_book(document, source, remarks), remarks)
    entries = [_card_entry(raw) for raw in book.raw_entries(table, source)]
    lorebook = book.read(Value({**table.value, "entries": entries}, remarks), source, remarks)
    return lorebook._replace(name=lorebook.name or source.stem, source=source)


def _card_entry(raw: dict[str, Any]) -> dict[str, Any]:
    """Convert an entry of a world file to an entry of a card's lorebook."""
    if "key" not in raw:
        return raw
    extensions = {key: raw[name] for key, name in _EXTENSION_KEYS.items() if name in raw}
    result = {card_key: raw[key] for key, card_key in _ENTRY_KEYS.items() if key in raw}
    is_disabled = Value(raw, Remarks()).get("disable").boolean()
    return result | {"enabled": not is_disabled, "extensions": extensions}
