"""Converts the lorebooks of other programs to entries of a card's lorebook.

Sources: files written by NovelAI, Agnai and RisuAI, and SillyTavern, which imports them. As in SillyTavern,
their entries are placed before the character.
"""

from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import book
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.untrusted.value import Value

AGNAI, NOVELAI, RISUAI = "Agnai", "NovelAI", "RisuAI"
Table = dict[str, Any]
_NOVELAI_KEYS: Final = ("searchRange", "contextConfig", "loreBiasGroups", "phraseBiasGroups", "category")
_RISUAI_FOLDER: Final = "folder"


def program_of(document: Table) -> str:
    """Return the program that wrote a lorebook, or an empty string if it is none of these."""
    has_entries = isinstance(document.get("entries"), list)
    if has_entries and "lorebookVersion" in document:
        return NOVELAI
    if has_entries and document.get("kind") == "memory":
        return AGNAI
    return RISUAI if document.get("type") == "risu" and isinstance(document.get("data"), list) else ""


def as_card_book(document: Table, source: Path, remarks: Remarks) -> Table:
    """Return the lorebook of one of these programs in the form of a card's lorebook.

    Raises PersonaError if it has too many entries.
    """
    program = program_of(document)
    given = Value(document, remarks).get("data" if program == RISUAI else "entries")
    book.check_count(given.value, source)
    entries = given.tables()
    if program == RISUAI:
        folders = [entry for entry in entries if entry.value.get("mode") == _RISUAI_FOLDER]
        entries = [entry for entry in entries if entry.value.get("mode") != _RISUAI_FOLDER]
        for _ in folders:
            remarks.add("a folder of entries is left out; its entries are used")
    convert = {AGNAI: _from_agnai, NOVELAI: _from_novelai, RISUAI: _from_risuai}[program]
    converted = [convert(entry.value) for entry in entries]
    if program == NOVELAI:
        keys = [key for key in _NOVELAI_KEYS if any(entry.value.get(key) for entry in entries)]
        if keys:
            remarks.add(f"settings of NovelAI's entries are left out: {', '.join(keys)}")
    texts = {key: document[key] for key in ("name", "description") if isinstance(document.get(key), str)}
    return {
        **texts,
        "entries": [{"position": "before_char", "extensions": {}} | entry for entry in converted],
    }


def _from_agnai(raw: Table) -> Table:
    return {
        "keys": raw.get("keywords"),
        "name": raw.get("name"),
        "content": raw.get("entry"),
        "insertion_order": raw.get("weight"),
        "priority": raw.get("priority"),
        "enabled": raw.get("enabled"),
    }


def _from_novelai(raw: Table) -> Table:
    context = raw.get("contextConfig")
    order = context.get("budgetPriority") if isinstance(context, dict) else None
    return {
        "keys": raw.get("keys"),
        "name": raw.get("displayName"),
        "content": raw.get("text"),
        "constant": raw.get("forceActivation"),
        "insertion_order": order,
        "enabled": raw.get("enabled"),
    }


def _from_risuai(raw: Table) -> Table:
    secondary = raw.get("secondkey") or []
    probability = raw.get("activationPercent")
    return {
        "keys": raw.get("key"),
        "secondary_keys": secondary,
        "selective": raw.get("selective"),
        "name": raw.get("comment"),
        "content": raw.get("content"),
        "constant": raw.get("alwaysActive"),
        "insertion_order": raw.get("insertorder"),
        "use_regex": raw.get("useRegex"),
        "extensions": {} if probability is None else {"probability": probability},
    }
