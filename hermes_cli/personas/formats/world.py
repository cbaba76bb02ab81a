"""Reads SillyTavern's world files and standalone lorebooks.

A world file has its entries in an object, and other names for their fields than a card's lorebook. The
meaning is the same, so each entry is translated to the names of a card's lorebook.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import book
from hermes_cli.personas.formats.fields import Fields
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Lorebook

SPEC: Final = "lorebook_v3"
_PLAIN: Final = {
    "key": "keys",
    "keysecondary": "secondary_keys",
    "comment": "comment",
    "content": "content",
    "constant": "constant",
    "selective": "selective",
    "order": "insertion_order",
}
_MORE: Final = {
    "selectiveLogic": "selectiveLogic",
    "position": "position",
    "depth": "depth",
    "probability": "probability",
    "useProbability": "useProbability",
    "excludeRecursion": "exclude_recursion",
    "preventRecursion": "prevent_recursion",
    "delayUntilRecursion": "delay_until_recursion",
    "scanDepth": "scan_depth",
    "caseSensitive": "case_sensitive",
    "matchWholeWords": "match_whole_words",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "group": "group",
    "vectorized": "vectorized",
    "triggers": "triggers",
    "ignoreBudget": "ignore_budget",
}


def is_one(document: dict[str, Any]) -> bool:
    """Return whether a JSON document is a world file, or a card's lorebook without its card."""
    return document.get("spec") == SPEC or (
        "entries" in document and isinstance(document["entries"], dict | list)
    )


def read(document: dict[str, Any], source: Path, remarks: Remarks) -> Lorebook:
    """Return the lorebook of a document. Raises PersonaError if it has too many entries."""
    fields = Fields(document, remarks)
    if document.get("spec") == SPEC:
        fields = fields.inner("data")
    raws = book.raw_entries(fields, source)
    told = {**fields.table, "entries": [_as_in_a_card(raw) for raw in raws]}
    found = book.read(Fields(told, remarks), source)
    return replace(found, name=found.name or source.stem, source=source)


def _as_in_a_card(raw: dict[str, Any]) -> dict[str, Any]:
    """Translate an entry of a world file to the names of a card's lorebook."""
    if "key" not in raw:
        return raw
    result = {told: raw[key] for key, told in _PLAIN.items() if key in raw}
    more = {told: raw[key] for key, told in _MORE.items() if key in raw}
    if _names_characters(raw.get("characterFilter")):
        more["character_filter"] = True
    flag = Fields(raw, Remarks()).flag("disable")
    return result | {"enabled": not flag, "extensions": more}


def _names_characters(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("names") or value.get("tags"))
