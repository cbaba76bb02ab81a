"""Parses hermes' persona format, a TOML file. `native_lore.py` parses the lorebook in it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.options import OptionError, check_table
from hermes_cli.personas import native_lore
from hermes_cli.personas.persona import Example, Note, Persona
from hermes_cli.personas.toml_reader import Table
from hermes_cli.textfiles import parse_toml

KEYS: Final = (
    *("name", "nickname", "description", "system", "character", "personality", "scenario"),
    *("greeting", "greetings", "dialogue", "post_history", "user", "creator_notes", "worlds"),
    *("note", "examples", "options", native_lore.BOOK, native_lore.ENTRIES, "original"),
)
"""In the usual order of a file; errors list them in this order."""

MAX_NOTE_DEPTH: Final = 100
_SPEAKING: Final = (
    *("system", "character", "personality", "scenario", "greeting", "greetings"),
    *("dialogue", "examples", "post_history"),
)
_EXAMPLE_KEYS: Final = ("user", "assistant")
_EXAMPLE_HINT: Final = 'write [[examples]], then user = "..." and assistant = "..."'


def parse(text: str, source: Path) -> Persona:
    """Parse the TOML `text` of a persona. `source` is named in errors.

    Raises PersonaError if the text is invalid.
    """
    table = Table(parse_toml(text, source, PersonaError), source)
    table.refuse_unknown(KEYS)
    if not any(key in table.values for key in _SPEAKING):
        raise PersonaError(
            f"{source}: it has no 'system', and nothing else that makes a character",
            'add a line such as: system = "You are ..."',
        )
    original, kind = _original(table)
    return Persona(
        name=table.line("name", source.stem),
        system=table.filled("system"),
        source=source,
        description=table.text("description"),
        nickname=table.line("nickname"),
        character=table.text("character"),
        personality=table.text("personality"),
        scenario=table.text("scenario"),
        greetings=tuple(filter(None, (table.filled("greeting"),))) + table.texts("greetings"),
        dialogue=table.text("dialogue"),
        examples=_examples(table),
        post_history=table.text("post_history"),
        note=_note(table),
        user=table.line("user") or None,
        creator_notes=table.text("creator_notes"),
        lorebook=native_lore.lorebook(table),
        worlds=table.texts("worlds"),
        options=_options(table),
        original=original,
        kind=kind,
    )


def _examples(table: Table) -> tuple[Example, ...]:
    found = []
    for one in table.tables("examples", "example", _EXAMPLE_HINT):
        one.refuse_unknown(_EXAMPLE_KEYS)
        for key in _EXAMPLE_KEYS:
            if key not in one.values:
                raise one.lacks(key, _EXAMPLE_HINT)
        found.append(Example(*(one.text(key) for key in _EXAMPLE_KEYS)))
    return tuple(found)


def _note(table: Table) -> Note | None:
    if "note" not in table.values:
        return None
    note = table.inner("note", "[note]")
    note.refuse_unknown(("text", "depth"))
    if "text" not in note.values:
        raise note.lacks("text", 'write text = "..." under [note]')
    depth = note.whole("depth", Note("").depth, 0, MAX_NOTE_DEPTH)
    return Note(note.filled("text"), depth or 0)


def _original(table: Table) -> tuple[Path | None, str]:
    """Return the file beside the TOML file that the persona was imported from, and its format."""
    if "original" not in table.values:
        return None, ""
    original = table.inner("original", "[original]")
    original.refuse_unknown(("file", "kind"))
    if "file" not in original.values:
        raise original.lacks("file", 'write file = "..." under [original], or take [original] out')
    name = original.line("file")
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise PersonaError(
            f"{table.source}: 'file' in [original] is a path", "the file lies beside this one: give its name"
        )
    return table.source.parent / name, original.text("kind")


def _options(table: Table) -> Mapping[str, Any]:
    if "options" not in table.values:
        return MappingProxyType({})
    try:
        return MappingProxyType(check_table(table.inner("options", "[options]").values))
    except OptionError as error:
        raise PersonaError(
            f"{table.source}, [options]: {error}", "`hermes ask --help` has them all"
        ) from None
