"""Reads Agnai's characters in JSON.

Source: files written by Agnai. The description of the character is in `persona.attributes`, which holds a
list of texts for each attribute, or only `text`; `description` is for the list of characters.
"""

from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import book, other_worlds
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.native import MAX_NOTE_DEPTH
from hermes_cli.personas.persona import Note, Persona
from hermes_cli.untrusted.value import Value

_TEXT: Final = "text"
_TEXTS: Final = {
    "scenario": "scenario",
    "dialogue": "sampleChat",
    "system": "systemPrompt",
    "post_history": "postHistoryInstructions",
    "description": "description",
}
"""Maps attributes of a Persona to Agnai's keys for the same texts."""
_KNOWN: Final = (
    *(
        "kind",
        "name",
        "greeting",
        "alternateGreetings",
        "persona",
        "characterBook",
        "insert",
        *_TEXTS.values(),
    ),
    *("_id", "userId", "createdAt", "updatedAt", "creator", "characterVersion", "tags", "favorite", "avatar"),
)


def is_character(document: dict[str, Any]) -> bool:
    """Return whether a JSON document is a character of Agnai."""
    persona = document.get("persona")
    return document.get("kind") == "character" and isinstance(persona, dict) and "attributes" in persona


def read(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona in a character."""
    table = Value(document, remarks)
    texts: dict[str, Any] = {name: book.text_or_empty(table.get(key)) for name, key in _TEXTS.items()}
    greetings = (table.get("greeting").text(), *table.get("alternateGreetings").texts())
    insert = table.get("insert").table()
    note = book.text_or_empty(insert.get("prompt"))
    depth = insert.get("depth").integer(0, MAX_NOTE_DEPTH, Note("").depth)
    memory = document.get("characterBook")
    lorebook = None
    if isinstance(memory, dict) and other_worlds.program_of(memory):
        converted = other_worlds.as_card_book(memory, source, remarks)
        lorebook = book.read(Value(converted, remarks), source, remarks)
    elif memory:
        remarks.add("its lorebook is left out: it is not in Agnai's format")
    for key, value in document.items():
        if key not in _KNOWN and value:
            remarks.add(f"'{key[:60]}' is left out: hermes does not use it")
    return Persona(
        **texts,
        name=table.get("name").line() or source.stem,
        source=source,
        character=_attributes(table.get("persona").table().get("attributes").table()),
        greetings=tuple(text for text in greetings if text.strip()),
        note=Note(note, depth) if note else None,
        lorebook=lorebook,
    )


def _attributes(attributes: Value) -> str:
    """Return the attributes of a character, one a line, without the name of the attribute `text`."""
    lines = []
    for name in attributes.value:
        value = attributes.get(name)
        text = value.text() if isinstance(value.value, str) else ", ".join(value.texts())
        if text.strip():
            lines.append(text if name == _TEXT else f"{name}: {text}")
    return "\n".join(lines)
