"""Parses personas and lorebooks in hermes' format, which is TOML.

A lorebook consists of a [lorebook] table and one [[lore]] table for each entry. They are in a persona's file
or in a file of the lore folder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.messages import Role
from hermes_cli.options import MAX_CONTEXT, MIN_CONTEXT, OptionError, check_table
from hermes_cli.personas import template
from hermes_cli.personas.lorebook import PERSONA_TEXTS, Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Example, Note, Persona
from hermes_cli.personas.regex_script import (
    MAX_DEPTH,
    MAX_SCRIPTS,
    MAX_TRIMMED,
    FindMacros,
    RegexScript,
    Target,
)
from hermes_cli.untrusted import toml_parser
from hermes_cli.untrusted.source import Source, line_feeds
from hermes_cli.untrusted.value import SHOWN, Policy, Value, ValuePath

MAX_NOTE_DEPTH: Final = 100
MAX_NUMBER: Final = 10**9
BOOK: Final = "lorebook"
ENTRIES: Final = "lore"
SCRIPTS: Final = "regex"
_LORE_HINT: Final = 'write [[lore]], then keys = ["..."] and content = "..."'
_EXAMPLE_HINT: Final = 'write [[examples]], then user = "..." and assistant = "..."'
_SCRIPT_HINT: Final = "write [[regex]], then find = '/.../g' and replace = \"...\""
_EXAMPLES: Final = {
    "a string": '{} = "..."',
    "a list of strings": '{} = ["...", "..."]',
    "true or false": "{} = true",
    "a whole number": "{} = 1",
    "a number": "{} = 50",
    "a table": "[{}]",
    "a list": "[[{}]]",
}

_Fields = Mapping[str, Callable[[Value], Any]]
"""Maps the keys of a table to the functions that read their values."""


def _signed(value: Value) -> int:
    return value.integer(-MAX_NUMBER, MAX_NUMBER)


def _unsigned(value: Value) -> int:
    return value.integer(0, MAX_NUMBER)


_READERS: Final[Mapping[Any, Callable[[Value], Any]]] = {
    str: Value.text,
    bool: Value.boolean,
    bool | None: Value.boolean,
    int: _unsigned,
    int | None: _unsigned,
    float: lambda value: value.number(0, 100),
    tuple[str, ...]: Value.texts,
    Logic: lambda value: value.one_of(Logic),
    Position: lambda value: value.one_of(Position),
    Role: lambda value: value.one_of(Role),
}


def _matches(value: Value) -> tuple[str, ...]:
    names = value.texts()
    for name in names:
        if name not in PERSONA_TEXTS:
            value.reject(f"has '{name[:SHOWN]}', which is none of {', '.join(PERSONA_TEXTS)}")
    return names


def _targets(value: Value) -> tuple[Target, ...]:
    return tuple(item.one_of(Target) for item in value.items())


def _trimmed(value: Value) -> tuple[str, ...]:
    items = value.items()
    if len(items) > MAX_TRIMMED:
        value.reject(f"has {len(items):,} strings; it can have {MAX_TRIMMED}")
    return tuple(item.text() for item in items)  # a blank one can be meant


def _fields(kind: type[LoreEntry | Lorebook], *first: str) -> dict[str, Callable[[Value], Any]]:
    """Map the fields of a record to functions that read them. The fields in `first` come first."""
    types = kind.__annotations__
    return {
        name: _READERS[types[name]] for name in dict.fromkeys((*first, *types)) if types[name] in _READERS
    }


BOOK_FIELDS: Final[_Fields] = _fields(Lorebook) | {"share": lambda value: value.integer(0, 100)}
ENTRY_FIELDS: Final[_Fields] = _fields(LoreEntry, "name", "keys", "content", "enabled", "constant") | {
    "order": _signed,
    "priority": _signed,
    "matches": _matches,
}
SCRIPT_FIELDS: Final[_Fields] = {
    **dict.fromkeys(("name", "find", "replace"), Value.text),
    "targets": _targets,
    **dict.fromkeys(("display", "prompt", "on_edit", "enabled"), Value.boolean),
    "trim": _trimmed,
    "find_macros": lambda value: value.one_of(FindMacros),
    "min_depth": lambda value: value.integer(-1, MAX_DEPTH),
    "max_depth": lambda value: value.integer(0, MAX_DEPTH),
}
PERSONA_FIELDS: Final[_Fields] = {
    **dict.fromkeys(("name", "nickname", "user"), Value.line),
    "system": Value.filled,
    **dict.fromkeys(("description", "character", "personality", "scenario", "dialogue"), Value.text),
    **dict.fromkeys(("post_history", "creator_notes", "prompt"), Value.text),
    "verbatim": Value.boolean,
    "worlds": Value.texts,
    "context": lambda value: value.integer(MIN_CONTEXT, MAX_CONTEXT),
}
KEYS: Final = (
    *(
        "name",
        "nickname",
        "description",
        "system",
        "verbatim",
        "prompt",
        "character",
        "personality",
        "scenario",
    ),
    *("greeting", "greetings", "dialogue", "post_history", "user", "creator_notes", "worlds"),
    "context",
    *("note", "examples", "variables", "options", SCRIPTS, BOOK, ENTRIES, "original"),
)
"""The keys of a persona file, in the order in which they are written."""
_ABOUT_CHARACTER: Final = frozenset(
    {
        *("system", "prompt", "character", "personality", "scenario", "greeting", "greetings"),
        *("dialogue", "examples", "post_history"),
    }
)


def parse(text: str, source: Path) -> Persona:
    """Parse the TOML `text` of a persona. `source` is its path.

    Raises PersonaError, which names `source`, if the text is invalid.
    """
    file = _parsed(text, source)
    file.refuse_unknown(KEYS)
    if _ABOUT_CHARACTER.isdisjoint(file.value):
        file.reject(
            "has no 'system' and no other key that describes a character",
            'add a line such as: system = "You are ..."',
        )
    values = {"name": source.stem, "system": ""} | _read(file, PERSONA_FIELDS)
    original, kind = _original(file, source)
    return Persona(
        **values,
        source=source,
        greetings=tuple(filter(None, (file.get("greeting").filled(),))) + file.get("greetings").texts(),
        examples=tuple(_example(table) for table in file.get("examples").tables()),
        note=_note(file["note"]) if "note" in file else None,
        lorebook=_lorebook(file, source),
        regex=_scripts(file.get(SCRIPTS)),
        variables=_variables(file.get("variables").table()),
        options=_options(file, source),
        original=original,
        kind=kind,
    )


def parse_lorebook(text: str, source: Path) -> Lorebook:
    """Parse the TOML `text` of a file in the lore folder. Raises PersonaError if the text is invalid."""
    file = _parsed(text, source)
    file.refuse_unknown((BOOK, ENTRIES))
    book = _lorebook(file, source)
    if book is None:
        raise PersonaError(f"{source}: the file has no entry", _LORE_HINT)
    return book


@dataclass(frozen=True, slots=True)
class _TomlPolicy(Policy):
    """Raises PersonaError with the place of a value, such as `'order' in lore 3` or `'depth' in [note]`."""

    source: Path

    def reject(self, path: ValuePath, reason: str, hint: str = "") -> None:
        names = list[str]()
        for step in path:
            if isinstance(step, int):
                names[-1] = f"{names[-1][1:-1]} {step + 1}"
            else:
                names.append(f"[{step[:SHOWN]}]")
        if path and isinstance(path[-1], str):
            names[-1] = f"'{names[-1][1:-1]}'"
        raise PersonaError(f"{self.source}: {' in '.join(reversed(names)) or 'the file'} {reason}", hint)

    def type_hint(self, path: ValuePath, wanted: str) -> str:
        key = next(step for step in reversed(path) if isinstance(step, str))
        return f"write {_EXAMPLES[wanted].format(key)}"

    def clean(self, path: ValuePath, text: str) -> str:
        if "\0" in text:
            self.reject(path, "contains a NUL character", "remove it")
        return line_feeds(text)


def _parsed(text: str, source: Path) -> Value:
    return Value(toml_parser.parse(text, Source(str(source), PersonaError)), _TomlPolicy(source))


def _read(table: Value, table_fields: _Fields) -> dict[str, Any]:
    """Read the values of a table. Missing keys are left out."""
    return {key: read(table[key]) for key, read in table_fields.items() if key in table}


def _require(table: Value, hint: str, *keys: str) -> None:
    for key in keys:
        if key not in table:
            table.reject(f"has no '{key}'", hint)


def _lorebook(file: Value, source: Path) -> Lorebook | None:
    """Return the lorebook in a file, or None if there is none."""
    if BOOK not in file and ENTRIES not in file:
        return None
    book = file.get(BOOK).table()
    book.refuse_unknown(BOOK_FIELDS)
    entries = tuple(_entry(table) for table in file.get(ENTRIES).tables())
    return Lorebook(entries, **_read(book, BOOK_FIELDS), source=source)


def _entry(table: Value) -> LoreEntry:
    table.refuse_unknown(ENTRY_FIELDS)
    _require(table, _LORE_HINT, "content")
    return LoreEntry(**_read(table, ENTRY_FIELDS))


def _scripts(value: Value) -> tuple[RegexScript, ...]:
    tables = value.tables()
    if len(tables) > MAX_SCRIPTS:
        value.reject(f"has {len(tables):,} scripts; it can have {MAX_SCRIPTS}", "remove some of them")
    return tuple(_script(table) for table in tables)


def _script(table: Value) -> RegexScript:
    table.refuse_unknown(SCRIPT_FIELDS)
    _require(table, _SCRIPT_HINT, "find")
    return RegexScript(**_read(table, SCRIPT_FIELDS))


def _example(table: Value) -> Example:
    table.refuse_unknown(("user", "assistant"))
    _require(table, _EXAMPLE_HINT, "user", "assistant")
    return Example(table["user"].text(), table["assistant"].text())


def _note(value: Value) -> Note:
    note = value.table()
    note.refuse_unknown(("text", "depth"))
    _require(note, 'write text = "..." under [note]', "text")
    return Note(note["text"].filled(), note.get("depth").integer(0, MAX_NOTE_DEPTH, Note("").depth))


def _original(file: Value, source: Path) -> tuple[Path | None, str]:
    """Return the path and the format of the file that the persona was imported from."""
    if "original" not in file:
        return None, ""
    original = file["original"].table()
    original.refuse_unknown(("file", "kind"))
    _require(original, 'write file = "..." under [original], or remove [original]', "file")
    name = original["file"].line()
    if "/" in name or "\\" in name or name in {".", ".."}:
        original["file"].reject("is a path", "give the name of a file in the same folder")
    return source.parent / name, original.get("kind").text()


def _variables(table: Value) -> Mapping[str, str]:
    """Return the default values of a template's variables."""
    for name in table.value:
        if not template.is_name(name) or name == template.INPUT:
            table.reject(
                f"has '{name[:SHOWN]}', which cannot be the name of a variable", "choose another name"
            )
    return MappingProxyType({name: table[name].text() for name in table.value})


def _options(file: Value, source: Path) -> Mapping[str, Any]:
    try:
        return MappingProxyType(check_table(file.get("options").table().value))
    except OptionError as error:
        raise PersonaError(f"{source}, [options]: {error}", "`hermes ask --help` lists them all") from None
