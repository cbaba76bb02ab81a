"""Reads the lorebook in a character card, `character_book`.

Sources: the Character Card V2 and V3 specifications, and, for an entry's `extensions`, SillyTavern. Fields
that neither has are in `extensions.hermes`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Role
from hermes_cli.personas.formats import decorators
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.untrusted.value import Policy, Value, ValuePath

MAX_ENTRIES: Final = 4_000
"""More entries than any published world has. A hostile file could make reading each of them slow."""
MAX_NUMBER: Final = 10**9
"""Upper limit of orders, priorities, depths and message counts."""
_DEFAULT_DEPTH: Final = 4
_DEFAULT_ORDER: Final = 100
LOGICS: Final = (Logic.AND_ANY, Logic.NOT_ALL, Logic.NOT_ANY, Logic.AND_ALL)
"""The logic for each value of SillyTavern's `selectiveLogic`."""
_BEFORE, _AFTER, _NOTE_TOP, _NOTE_BOTTOM, _AT_DEPTH, _EXAMPLES_TOP, _EXAMPLES_BOTTOM, _OUTLET = range(8)
"""SillyTavern's values of an entry's position."""
POSITIONS: Final = {Position.BEFORE: _BEFORE, Position.AFTER: _AFTER, Position.DEPTH: _AT_DEPTH}
_SILLYTAVERN_KEYS: Final = frozenset({"selectiveLogic", "display_index", "position"})
ROLES: Final = (Role.SYSTEM, Role.USER, Role.ASSISTANT)
"""The role for each value of SillyTavern's `role`."""
MATCH_FLAGS: Final = {
    "match_persona_description": "user",
    "match_character_description": "character",
    "match_character_personality": "personality",
    "match_character_depth_prompt": "note",
    "match_scenario": "scenario",
    "match_creator_notes": "creator_notes",
}
"""SillyTavern's keys for the texts in an entry's `matches`."""
_UNUSED: Final = ("vectorized", "triggers", "automation_id")
"""Keys of SillyTavern's entries for features that hermes does not support."""
OWN: Final = "hermes"
_UNFIT: Final = object()
_CACHED_TYPES: Final = (bool, int)

Table = dict[str, Any]
_Fields = Mapping[str, tuple[str, Callable[[Value], Any]]]
"""Maps an attribute to its key in a card and to the function that reads the value."""


def _count(value: Value) -> int:
    return value.integer(0, MAX_NUMBER)


def _count_or_none(value: Value) -> int | None:
    return value.integer_or_none(0, MAX_NUMBER)


def text_or_empty(value: Value) -> str:
    """Return a string, or an empty string if it is blank."""
    text = value.text()
    return text if text.strip() else ""


BOOK_FIELDS: Final[_Fields] = {
    "name": ("name", Value.line),
    "description": ("description", text_or_empty),
}
SETTING_FIELDS: Final[_Fields] = {
    "scan_depth": ("scan_depth", _count_or_none),
    "token_budget": ("token_budget", _count_or_none),
    "recursive": ("recursive_scanning", Value.boolean_or_none),
}
"""Settings in the specification. SillyTavern ignores them, and so does hermes unless hermes wrote them."""
OWN_SETTINGS: Final[_Fields] = {
    **{name: (name, read) for name, (_, read) in SETTING_FIELDS.items()},
    "whole_words": ("whole_words", Value.boolean_or_none),
    "share": ("share", lambda value: value.integer_or_none(0, 100)),
}
"""A lorebook's settings in `extensions.hermes`."""
ENTRY_FIELDS: Final[_Fields] = {
    "enabled": ("enabled", lambda value: value.boolean(default=True)),
    "constant": ("constant", Value.boolean),
    "order": ("insertion_order", lambda value: value.integer(-MAX_NUMBER, MAX_NUMBER, _DEFAULT_ORDER)),
    "priority": ("priority", lambda value: value.integer_or_none(-MAX_NUMBER, MAX_NUMBER)),
}
EXTENSION_FIELDS: Final[_Fields] = {
    "whole_words": ("match_whole_words", Value.boolean_or_none),
    "scan_depth": ("scan_depth", _count_or_none),
    "sticky": ("sticky", _count),
    "cooldown": ("cooldown", _count),
    "delay": ("delay", _count),
    "ignores_budget": ("ignore_budget", Value.boolean),
    "group_weight": ("group_weight", lambda value: value.integer(0, MAX_NUMBER, 100)),
    "group_override": ("group_override", Value.boolean),
    "group_scoring": ("use_group_scoring", Value.boolean),
}
_TABLE_FIELDS: Final[_Fields] = {**ENTRY_FIELDS, "case_sensitive": ("case_sensitive", Value.boolean_or_none)}
_EXTENSION_FIELDS: Final[_Fields] = {
    **EXTENSION_FIELDS,
    "logic": ("selectiveLogic", lambda value: LOGICS[value.integer(0, len(LOGICS) - 1)]),
    "role": ("role", lambda value: ROLES[value.integer(0, len(ROLES) - 1)]),
    "groups": ("group", lambda value: _groups(value.text())),
    "probability": ("probability", lambda value: value.number(0, 100, 100.0)),
    "recursable": ("exclude_recursion", lambda value: not value.boolean()),
    "recurses": ("prevent_recursion", lambda value: not value.boolean()),
}
"""These include fields whose values are different in a LoreEntry; `book_write.py` writes them one by one."""
OWN_FIELDS: Final[_Fields] = {
    "after_answers": ("after_answers", _count),
    "greeting": ("greeting", _count_or_none),
    "recursion_level": ("recursion_level", lambda value: value.integer(0, MAX_NUMBER, 1)),
    "characters": ("characters", Value.texts),
    "except_characters": ("except_characters", Value.texts),
}
"""An entry's fields in `extensions.hermes`."""


def read(book: Value, source: Path, remarks: Remarks) -> Lorebook:
    """Return a card's lorebook. Raises PersonaError if it has too many entries."""
    entries = tuple(_entry(raw, remarks) for raw in raw_entries(book, source))
    own = book.get("extensions").table().get(OWN).table()
    if not own.value:
        _remark_settings(book, remarks)
    return Lorebook(entries, **_read_fields(book, BOOK_FIELDS), **_read_fields(own, OWN_SETTINGS))


def _remark_settings(book: Value, remarks: Remarks) -> None:
    """Add a remark about the settings that hermes ignores, unless they are its defaults."""
    defaults = LoreSettings()
    ignored = [
        f"{key} {str(value).lower()}"
        for name, (key, read_value) in SETTING_FIELDS.items()
        if (value := read_value(book.get(key))) not in {None, getattr(defaults, name, None)}
    ]
    if ignored:
        remarks.add(
            f"the lorebook's settings are not used, as in SillyTavern: {', '.join(ignored)}; "
            "a table [lorebook] in the imported file sets them"
        )


def raw_entries(book: Value, source: Path) -> list[Table]:
    """Return the unparsed entries of a lorebook. Raises PersonaError if there are too many."""
    entries = book.get("entries")
    check_count(entries.value, source)
    return [entry.value for entry in entries.tables()]


def check_count(entries: Any, source: Path) -> None:
    """Raise PersonaError if there are too many entries."""
    if isinstance(entries, list | dict) and len(entries) > MAX_ENTRIES:
        raise PersonaError(
            f"{source}: its lorebook has {len(entries):,} entries; the limit is {MAX_ENTRIES:,}",
            "split it into several world files",
        )


def _read_fields(table: Value, fields: _Fields) -> Table:
    return {attribute: _field(table, key, read_value) for attribute, (key, read_value) in fields.items()}


def _field(table: Value, key: str, read_value: Callable[[Value], Any]) -> Any:
    """Return the value of a key. Most entries lack it or have the same value, so that those are cached."""
    given = table.value.get(key)
    if given is None or type(given) in _CACHED_TYPES:
        value = _cached_field(read_value, given)
        if value is not _UNFIT:
            return value
    return read_value(table.get(key))


class _UnfitError(ValueError):
    """A value that causes a remark."""


class _NoRemarks(Policy):
    converts = Remarks.converts

    def reject(self, path: ValuePath, reason: str, hint: str = "") -> None:  # noqa: ARG002 - the first is enough
        raise _UnfitError


@lru_cache(maxsize=4096, typed=True)
def _cached_field(read_value: Callable[[Value], Any], given: Any) -> Any:
    """Return the value of a field, or _UNFIT if it causes a remark."""
    try:
        return read_value(Value(given, _NoRemarks(), is_optional=True))
    except _UnfitError:
        return _UNFIT


def _entry(raw: Table, remarks: Remarks) -> LoreEntry:
    table = Value(raw, remarks, ("entry",))
    extensions = table.get("extensions").table()
    values = _read_fields(table, _TABLE_FIELDS) | _read_fields(extensions, _EXTENSION_FIELDS)
    if values["priority"] is None:
        values["priority"] = values["order"]
    position, depth, is_placed = _position(table, extensions, remarks)
    values["enabled"] = values["enabled"] and is_placed
    values |= _conditions(extensions, remarks)
    keys, secondary = _keys(table, extensions)
    for key in _UNUSED:
        if extensions.value.get(key):
            remarks.add(f"entries have '{key}', which hermes does not use")
    if _field(extensions, "useProbability", Value.boolean_or_none) is False:
        values["probability"] = 100.0
    if values["case_sensitive"] is None:
        values["case_sensitive"] = _field(extensions, "case_sensitive", Value.boolean_or_none)
    decorated = decorators.split(table.get("content").text())
    values |= {
        "content": decorated.content,
        "keys": keys,
        "name": table.get("name").line() or table.get("comment").line(),
        "secondary": secondary,
        "position": position,
        "depth": depth,
        "matches": tuple(name for key, name in MATCH_FLAGS.items() if _field(extensions, key, Value.boolean)),
    }
    if decorated.known or decorated.unknown:
        values |= decorators.changes(decorated, secondary, remarks)
    return LoreEntry(**values)


def _conditions(extensions: Value, remarks: Remarks) -> Table:
    """Return the fields about recursion levels, greetings, answers and characters."""
    values = _read_fields(extensions.get(OWN).table(), OWN_FIELDS)
    delay = extensions.get("delay_until_recursion")
    if isinstance(delay.value, int) and not isinstance(delay.value, bool):  # a level, from SillyTavern
        level = delay.integer(0, MAX_NUMBER)
        values |= {"only_recursion": level > 0, "recursion_level": level or 1}
    else:
        values["only_recursion"] = delay.boolean()
    filters = extensions.get("character_filter")
    if isinstance(filters.value, dict):
        names = filters.get("names").texts()
        key = "except_characters" if filters.get("isExclude").boolean() else "characters"
        values |= {key: names} if names else {}
        if filters.get("tags").value:
            remarks.add("entries are limited to characters with a tag; hermes uses them for all characters")
    return values


def _groups(text: str) -> tuple[str, ...]:
    """Return the names of the groups in SillyTavern's list, which has commas between them."""
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def is_pattern(key: str) -> bool:
    """Return whether a key is a regular expression between slashes, with optional flags."""
    return (
        len(key) > len("//") and key.startswith("/") and key.rpartition("/")[2].isalpha() | key.endswith("/")
    )


def _keys(table: Value, extensions: Value) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys and the secondary keys.

    In the specification, `use_regex` means that every key is a pattern and that there are no secondary keys.
    SillyTavern sets it in every entry, but only its keys between slashes are patterns. SillyTavern's entries
    are recognized by _SILLYTAVERN_KEYS.
    """
    keys = tuple(key for key in table.get("keys").texts() if key.strip())
    if _field(table, "use_regex", Value.boolean) and _SILLYTAVERN_KEYS.isdisjoint(extensions.value):
        flags = "i" if table.value.get("case_sensitive") is False else ""
        return tuple(key if is_pattern(key) else f"/{_escaped(key)}/{flags}" for key in keys), ()
    secondary = tuple(key for key in table.get("secondary_keys").texts() if key.strip())
    return keys, secondary if _field(table, "selective", Value.boolean) else ()


def _escaped(pattern: str) -> str:
    """Return a pattern with its slashes escaped. The pattern must not contain NUL."""
    hidden = pattern.replace("\\\\", "\0b").replace("\\/", "\0s").replace("/", "\\/")
    return hidden.replace("\0s", "\\/").replace("\0b", "\\\\")


def _depth(value: Value) -> int:
    return value.integer(0, MAX_NUMBER, _DEFAULT_DEPTH)


def _sillytavern_position(value: Value) -> int | None:
    return value.integer_or_none(_BEFORE, _OUTLET)


def _position(table: Value, extensions: Value, remarks: Remarks) -> tuple[Position, int, bool]:
    """Return the position, the depth, and whether hermes supports the position."""
    depth = _field(extensions, "depth", _depth)
    position = _field(extensions, "position", _sillytavern_position)
    if position is None:
        is_before = table.value.get("position") == "before_char"
        return (Position.BEFORE if is_before else Position.AFTER), depth, True
    if position in {_EXAMPLES_TOP, _EXAMPLES_BOTTOM}:
        remarks.add("entries around the examples are placed after the character's description")
    if position in {_NOTE_TOP, _NOTE_BOTTOM}:
        remarks.add(f"entries around the author's note are placed {_DEFAULT_DEPTH} turns from the end")
        return Position.DEPTH, _DEFAULT_DEPTH, True
    if position == _AT_DEPTH:
        return Position.DEPTH, depth, True
    if position == _OUTLET:
        remarks.add("entries in an outlet are disabled: hermes does not support outlets")
    return (Position.BEFORE if position == _BEFORE else Position.AFTER), depth, position != _OUTLET
