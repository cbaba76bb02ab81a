"""Writes personas and lorebooks as TOML in hermes' format. Blank texts and default values are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.native_lore import BOOK, BOOK_KEYS, ENTRIES, ENTRY_KEYS
from hermes_cli.personas.persona import Persona
from hermes_cli.personas.toml_text import assignments

_BEFORE_GREETINGS = ("name", "nickname", "description", "system", "character", "personality", "scenario")
_AFTER_GREETINGS = ("dialogue", "post_history", "user", "creator_notes", "worlds")


def write(of: Persona | Lorebook) -> str:
    """Return the TOML text that `native.parse` or `native_lore.parse_lorebook` parses back to this value."""
    blocks = _lorebook_blocks(of) if isinstance(of, Lorebook) else _persona_blocks(of)
    return "\n".join(blocks)


def append_entry(text: str, entry: LoreEntry) -> str:
    """Return a file's text with the entry appended. Comments and layout are preserved.

    `text` must be valid; it is not parsed.
    """
    gap = "\n" if text.endswith("\n") or not text else "\n\n"
    return f"{text}{gap if text else ''}{_entry(entry)}"


def _persona_blocks(persona: Persona) -> list[str]:
    greetings = [one for one in persona.greetings if one.strip()]
    keys = {name: getattr(persona, name) for name in _BEFORE_GREETINGS}
    keys |= {"greeting": next(iter(greetings), ""), "greetings": greetings[1:]}
    keys |= {name: getattr(persona, name) for name in _AFTER_GREETINGS}
    blocks = [assignments({name: value for name, value in keys.items() if _says_something(value)})]
    if persona.note and _says_something(persona.note.text):
        blocks.append(_table("[note]", {"text": persona.note.text, "depth": persona.note.depth}))
    blocks += [
        _table("[[examples]]", {"user": example.user, "assistant": example.assistant})
        for example in persona.examples
    ]
    if persona.options:
        blocks.append(_table("[options]", persona.options))
    if persona.original:
        original = {"file": persona.original.name, "kind": persona.kind}
        blocks.append(_table("[original]", {name: value for name, value in original.items() if value}))
    return blocks + (_lorebook_blocks(persona.lorebook) if persona.lorebook else [])


def _lorebook_blocks(book: Lorebook) -> list[str]:
    said = _said(book, BOOK_KEYS)
    head = [_table(f"[{BOOK}]", said)] if said or not book.entries else []
    return head + [_entry(entry) for entry in book.entries]


def _entry(entry: LoreEntry) -> str:
    return _table(f"[[{ENTRIES}]]", _said(entry, ENTRY_KEYS, always="content"))


def _said(of: LoreEntry | Lorebook, keys: Sequence[str], always: str = "") -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    defaults = {field.name: field.default for field in fields(of)}
    found = {key: getattr(of, key) for key in keys}
    return {
        key: value
        for key, value in found.items()
        if key == always or (value != defaults[key] and _says_something(value))
    }


def _table(header: str, values: Mapping[str, Any]) -> str:
    return f"{header}\n{assignments(values)}"


def _says_something(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, bool | int | float) or bool(value)
