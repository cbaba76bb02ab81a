"""Writes personas and lorebooks as TOML 1.0 in hermes' format, for editing by hand.

Blank strings and default values are left out. Line breaks are preserved, and few quotes are escaped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.native import (
    BOOK,
    BOOK_FIELDS,
    ENTRIES,
    ENTRY_FIELDS,
    KEYS,
    PERSONA_FIELDS,
    SCRIPT_FIELDS,
    SCRIPTS,
)
from hermes_cli.personas.persona import Persona
from hermes_cli.personas.regex_script import RegexScript

_ESCAPES: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f"
_IN_LINES: Final = re.compile(rf'[{_CONTROLS}\\]|"(?=""|\Z)')  # three quotes would end the string
_IN_LINE: Final = re.compile(rf'[{_CONTROLS}\t\n"\\]')
_NOT_LITERAL: Final = re.compile(rf"[{_CONTROLS}\n']")
_LIST_WIDTH: Final = 90
_TEMPLATE_NAME: Final = '"NAME"'


def write(content: Persona | Lorebook) -> str:
    """Return a persona or a lorebook as TOML, which `native` parses back to the same value."""
    return "\n".join(_lorebook(content) if isinstance(content, Lorebook) else _persona(content))


def append(text: str, item: LoreEntry | RegexScript) -> str:
    """Return the TOML `text` with a lore entry or a regex script appended. Comments and layout are preserved.

    `text` must be valid; it is not parsed.
    """
    gap = "\n" if text.endswith("\n") or not text else "\n\n"
    return f"{text}{gap if text else ''}{_entry(item) if isinstance(item, LoreEntry) else _script(item)}"


def template(name: str) -> str:
    """Return the text of a new persona file with comments, for a character called `name`."""
    text = Path(__file__).with_name("template.toml").read_text(encoding="utf-8")
    return text.replace(_TEMPLATE_NAME, toml_string(name), 1)


def toml_string(text: str) -> str:
    """Return a string as TOML, in quotes that need few escapes.

    A string with several lines, or with both kinds of quotes, is in triple quotes. Line ends are preserved:
    a carriage return is escaped.
    """
    if "\n" not in text and ('"' not in text or not _NOT_LITERAL.search(text)):
        return f"'{text}'" if '"' in text else f'"{_IN_LINE.sub(_escaped, text)}"'
    return f'"""\n{_IN_LINES.sub(_escaped, text)}"""'


def toml_value(value: str | bool | float | Sequence[str]) -> str:  # noqa: FBT001 - a TOML value may be a boolean
    """Return a string, a boolean, a number or a list of strings as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return toml_string(value)
    items = [toml_string(item) for item in value]
    line = f"[{', '.join(items)}]"
    if len(line) <= _LIST_WIDTH and "\n" not in line:
        return line
    return "[\n" + "".join(f"    {item},\n" for item in items) + "]"


def _escaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0], f"\\u{ord(match[0]):04x}")


def _persona(persona: Persona) -> Iterable[str]:
    greetings = [greeting for greeting in persona.greetings if greeting.strip()]
    values = {key: getattr(persona, key) for key in PERSONA_FIELDS}
    values |= {"verbatim": persona.verbatim or None}
    values |= {"greeting": next(iter(greetings), ""), "greetings": greetings[1:]}
    yield _assignments({key: values[key] for key in KEYS if not _is_blank(values.get(key))})
    if persona.note and not _is_blank(persona.note.text):
        yield _table("[note]", {"text": persona.note.text, "depth": persona.note.depth})
    for example in persona.examples:
        yield _table("[[examples]]", {"user": example.user, "assistant": example.assistant})
    if persona.variables:
        yield _table("[variables]", persona.variables)
    if persona.options:
        yield _table("[options]", persona.options)
    yield from map(_script, persona.regex)
    if persona.original:
        kind = {"kind": persona.kind} if persona.kind else {}
        yield _table("[original]", {"file": persona.original.name, **kind})
    if persona.lorebook:
        yield from _lorebook(persona.lorebook)


def _lorebook(book: Lorebook) -> Iterable[str]:
    values = _changed_fields(book, BOOK_FIELDS)
    if values or not book.entries:
        yield _table(f"[{BOOK}]", values)
    yield from map(_entry, book.entries)


def _entry(entry: LoreEntry) -> str:
    return _table(f"[[{ENTRIES}]]", _changed_fields(entry, ENTRY_FIELDS, always="content"))


def _script(script: RegexScript) -> str:
    """Return a script as a table. A blank replacement is kept: it can be a space or a line break."""
    values = {key: getattr(script, key) for key in SCRIPT_FIELDS}
    defaults = RegexScript._field_defaults
    changed = {key: value for key, value in values.items() if key == "find" or value != defaults[key]}
    return _table(f"[[{SCRIPTS}]]", changed)


def _changed_fields(item: LoreEntry | Lorebook, keys: Iterable[str], always: str = "") -> dict[str, Any]:
    """Return the fields that differ from their defaults and are not blank, and the field `always`."""
    defaults = item._field_defaults
    values = {key: getattr(item, key) for key in keys}
    return {
        key: value
        for key, value in values.items()
        if key == always or (value != defaults[key] and not _is_blank(value))
    }


def _table(header: str, values: Mapping[str, Any]) -> str:
    return f"{header}\n{_assignments(values)}"


def _assignments(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items())


def _is_blank(value: Any) -> bool:
    """Return whether a value is None, a blank string or an empty list."""
    return not (value.strip() if isinstance(value, str) else isinstance(value, bool | int | float) or value)
