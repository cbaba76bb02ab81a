"""Reads and writes the lorebook in a character card, `character_book`.

Sources: the Character Card V2 and V3 specifications, and, for an entry's `extensions`, SillyTavern. Fields
that neither has are in `extensions.hermes`. When a lorebook is written, only changed fields of the original
are replaced: old and new entries are matched, and unknown keys are preserved.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Role
from hermes_cli.personas.formats import decorators
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.untrusted.value import Value

MAX_ENTRIES: Final = 10_000
MAX_NUMBER: Final = 10**9
"""Upper limit of orders, priorities, depths and message counts."""
_DEFAULT_DEPTH: Final = 4
_DEFAULT_ORDER: Final = 100
_LOGICS: Final = (Logic.AND_ANY, Logic.NOT_ALL, Logic.NOT_ANY, Logic.AND_ALL)
"""The logic for each value of SillyTavern's `selectiveLogic`."""
_BEFORE, _AFTER, _NOTE_TOP, _NOTE_BOTTOM, _AT_DEPTH, _EXAMPLES_TOP, _EXAMPLES_BOTTOM, _OUTLET = range(8)
"""SillyTavern's values of an entry's position."""
_POSITIONS: Final = {Position.BEFORE: _BEFORE, Position.AFTER: _AFTER, Position.DEPTH: _AT_DEPTH}
_SILLYTAVERN_KEYS: Final = frozenset({"selectiveLogic", "display_index", "position"})
_ROLES: Final = (Role.SYSTEM, Role.USER, Role.ASSISTANT)
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
_UNUSED: Final = ("group", "vectorized", "triggers", "automation_id")
"""Keys of SillyTavern's entries for features that hermes does not support."""
_OWN: Final = "hermes"

_Table = dict[str, Any]
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


_BOOK_FIELDS: Final[_Fields] = {
    "name": ("name", Value.line),
    "description": ("description", text_or_empty),
}
_SETTING_FIELDS: Final[_Fields] = {
    "scan_depth": ("scan_depth", _count_or_none),
    "token_budget": ("token_budget", _count_or_none),
    "recursive": ("recursive_scanning", Value.boolean_or_none),
}
"""Settings in the specification. SillyTavern ignores them, and so does hermes unless hermes wrote them."""
_OWN_SETTINGS: Final[_Fields] = {
    **{name: (name, read) for name, (_, read) in _SETTING_FIELDS.items()},
    "whole_words": ("whole_words", Value.boolean_or_none),
    "share": ("share", lambda value: value.integer_or_none(0, 100)),
}
"""A lorebook's settings in `extensions.hermes`."""
_ENTRY_FIELDS: Final[_Fields] = {
    "enabled": ("enabled", lambda value: value.boolean(default=True)),
    "constant": ("constant", Value.boolean),
    "order": ("insertion_order", lambda value: value.integer(-MAX_NUMBER, MAX_NUMBER, _DEFAULT_ORDER)),
    "priority": ("priority", lambda value: value.integer_or_none(-MAX_NUMBER, MAX_NUMBER)),
}
_EXTENSION_FIELDS: Final[_Fields] = {
    "whole_words": ("match_whole_words", Value.boolean_or_none),
    "scan_depth": ("scan_depth", _count_or_none),
    "sticky": ("sticky", _count),
    "cooldown": ("cooldown", _count),
    "delay": ("delay", _count),
    "ignores_budget": ("ignore_budget", Value.boolean),
}
_OWN_FIELDS: Final[_Fields] = {
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
    own = book.get("extensions").table().get(_OWN).table()
    if not own.value:
        _remark_settings(book, remarks)
    return Lorebook(entries, **_read_fields(book, _BOOK_FIELDS), **_read_fields(own, _OWN_SETTINGS))


def _remark_settings(book: Value, remarks: Remarks) -> None:
    """Add a remark about the settings that hermes ignores, unless they are its defaults."""
    defaults = LoreSettings()
    ignored = [
        f"{key} {str(value).lower()}"
        for name, (key, read_value) in _SETTING_FIELDS.items()
        if (value := read_value(book.get(key))) not in {None, getattr(defaults, name, None)}
    ]
    if ignored:
        remarks.add(
            f"the lorebook's settings are not used, as in SillyTavern: {', '.join(ignored)}; "
            "a table [lorebook] in the imported file sets them"
        )


def raw_entries(book: Value, source: Path) -> list[_Table]:
    """Return the unparsed entries of a lorebook. Raises PersonaError if there are too many."""
    entries = book.get("entries").tables()
    if len(entries) > MAX_ENTRIES:
        raise PersonaError(
            f"{source}: its lorebook has {len(entries):,} entries; the limit is {MAX_ENTRIES:,}",
            "split it into several world files",
        )
    return [entry.value for entry in entries]


def _read_fields(table: Value, fields: _Fields) -> _Table:
    return {attribute: read_value(table.get(key)) for attribute, (key, read_value) in fields.items()}


def _entry(raw: _Table, remarks: Remarks) -> LoreEntry:
    table = Value(raw, remarks, ("entry",))
    extensions = table.get("extensions").table()
    values = _read_fields(table, _ENTRY_FIELDS) | _read_fields(extensions, _EXTENSION_FIELDS)
    if values["priority"] is None:
        values["priority"] = values["order"]
    position, depth, is_placed = _position(table, extensions, remarks)
    values["enabled"] = values["enabled"] and is_placed
    values |= _conditions(extensions, remarks)
    keys, secondary = _keys(table, extensions)
    for key in _UNUSED:
        if extensions.get(key).value:
            remarks.add(f"entries have '{key}', which hermes does not use")
    probability = extensions.get("probability").number(0, 100, 100.0)
    is_random = extensions.get("useProbability").boolean(default=True)
    case_sensitive = table.get("case_sensitive").boolean_or_none()
    if case_sensitive is None:
        case_sensitive = extensions.get("case_sensitive").boolean_or_none()
    entry = LoreEntry(
        **values,
        content=table.get("content").text(),
        keys=keys,
        name=table.get("name").line() or table.get("comment").line(),
        secondary=secondary,
        logic=_LOGICS[extensions.get("selectiveLogic").integer(0, len(_LOGICS) - 1)],
        position=position,
        depth=depth,
        role=_ROLES[extensions.get("role").integer(0, len(_ROLES) - 1)],
        case_sensitive=case_sensitive,
        probability=probability if is_random else 100.0,
        matches=tuple(name for key, name in MATCH_FLAGS.items() if extensions.get(key).boolean()),
        recursable=not extensions.get("exclude_recursion").boolean(),
        recurses=not extensions.get("prevent_recursion").boolean(),
    )
    decorated = decorators.split(entry.content)
    return decorators.apply(entry, decorated, remarks) if decorated.known or decorated.unknown else entry


def _conditions(extensions: Value, remarks: Remarks) -> _Table:
    """Return the fields about recursion levels, greetings, answers and characters."""
    values = _read_fields(extensions.get(_OWN).table(), _OWN_FIELDS)
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
    if table.get("use_regex").boolean() and _SILLYTAVERN_KEYS.isdisjoint(extensions.value):
        flags = "i" if table.value.get("case_sensitive") is False else ""
        return tuple(key if is_pattern(key) else f"/{_escaped(key)}/{flags}" for key in keys), ()
    secondary = tuple(key for key in table.get("secondary_keys").texts() if key.strip())
    return keys, secondary if table.get("selective").boolean() else ()


def _escaped(pattern: str) -> str:
    """Return a pattern with its slashes escaped. The pattern must not contain NUL."""
    hidden = pattern.replace("\\\\", "\0b").replace("\\/", "\0s").replace("/", "\\/")
    return hidden.replace("\0s", "\\/").replace("\0b", "\\\\")


def _position(table: Value, extensions: Value, remarks: Remarks) -> tuple[Position, int, bool]:
    """Return the position, the depth, and whether hermes supports the position."""
    depth = extensions.get("depth").integer(0, MAX_NUMBER, _DEFAULT_DEPTH)
    position = extensions.get("position").integer_or_none(_BEFORE, _OUTLET)
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


def write(raw: Any, new: Lorebook, source: Path) -> _Table:
    """Return a card's lorebook with the changes in `new`. `raw` is the old lorebook, or None.

    Raises PersonaError if `raw` cannot be read.
    """
    result: _Table = dict(raw) if isinstance(raw, dict) else {}
    table = Value(result, Remarks())
    old = read(table, source, Remarks()) if result else Lorebook()
    for attribute, (key, _) in _BOOK_FIELDS.items():
        value = getattr(new, attribute)
        if value != getattr(old, attribute):
            result[key] = value
    if new.entries != old.entries or "entries" not in result:
        result["entries"] = _written_entries(raw_entries(table, source), old.entries, new.entries)
    result.setdefault("extensions", {})
    _write_settings(result, old, new)
    return result


def _write_settings(result: _Table, old: Lorebook, new: Lorebook) -> None:
    """Write the settings, if they have changed, for hermes and for programs that follow the specification."""
    if all(getattr(old, name) == getattr(new, name) for name in _OWN_SETTINGS):
        return
    own = {name: value for name in _OWN_SETTINGS if (value := getattr(new, name)) is not None}
    for name, (key, _) in _SETTING_FIELDS.items():
        if name in own:
            result[key] = own[name]
        else:
            result.pop(key, None)
    extensions = result["extensions"] if isinstance(result["extensions"], dict) else {}
    result["extensions"] = _with_own(extensions, own)


def _with_own(extensions: _Table, own: _Table) -> _Table:
    """Return `extensions` with these fields of hermes', and without the key if there are none."""
    return {key: extensions[key] for key in extensions if key != _OWN} | ({_OWN: own} if own else {})


def _written_entries(
    raws: list[_Table], old: tuple[LoreEntry, ...], new: tuple[LoreEntry, ...]
) -> list[_Table]:
    # If an entry has no id, SillyTavern uses its index in the list.
    ids: list[int] = [raw["id"] for raw in raws if isinstance(raw.get("id"), int)]
    unused_id = max([len(raws) - 1, *ids]) + 1
    result = []
    for entry, index in zip(new, _matches(old, new), strict=True):
        if index is None:
            result.append(_written_entry({"id": unused_id, "extensions": {}}, None, entry))
            unused_id += 1
        else:
            result.append(_written_entry(raws[index], old[index], entry))
    return result


def _matches(old: tuple[LoreEntry, ...], new: tuple[LoreEntry, ...]) -> list[int | None]:
    """Return the index of the matching old entry, or None, for each new entry.

    Entries are matched by equality, then by name, by keys, by content, and finally by index.
    """
    result: list[int | None] = [None] * len(new)
    criteria: tuple[Callable[[int, LoreEntry], object], ...] = (
        lambda _index, entry: entry,
        lambda _index, entry: entry.name or None,
        lambda _index, entry: entry.keys or None,
        lambda _index, entry: entry.content or None,
        lambda index, _entry: index,
    )
    unmatched = set(range(len(old)))
    for criterion in criteria:
        candidates = defaultdict[object, list[int]](list)
        for index in sorted(unmatched, reverse=True):
            candidates[criterion(index, old[index])].append(index)
        for index, entry in enumerate(new):
            value = criterion(index, entry)
            if result[index] is None and value is not None and candidates.get(value):
                match = candidates[value].pop()
                result[index] = match
                unmatched.discard(match)
    return result


def _written_entry(raw: _Table, old: LoreEntry | None, new: LoreEntry) -> _Table:
    """Return the raw entry with the changes in `new`, so that it parses as `new`."""
    if old == new:
        return raw
    result = dict(raw)
    extensions: _Table = dict(raw["extensions"]) if isinstance(raw.get("extensions"), dict) else {}
    content = Value(raw, Remarks()).get("content").text()
    decorated = decorators.split(content)
    if old and decorated.known and any(getattr(old, n) != getattr(new, n) for n in decorators.ATTRIBUTES):
        old = None  # the decorators override fields, so they are removed and all fields are written

    def is_changed(*attributes: str) -> bool:
        return old is None or any(getattr(old, name) != getattr(new, name) for name in attributes)

    if is_changed("content"):
        result["content"] = _written_content(content, decorated, new, keeps_all=old is not None)
    for table, fields in ((result, _ENTRY_FIELDS), (extensions, _EXTENSION_FIELDS)):
        table.update({key: getattr(new, name) for name, (key, _) in fields.items() if is_changed(name)})
    _write_combined_fields(result, extensions, new, is_changed)
    if is_changed(*_OWN_FIELDS, "only_recursion"):
        defaults = LoreEntry("")
        own = {
            name: list(value) if isinstance(value, tuple) else value
            for name in _OWN_FIELDS
            if (value := getattr(new, name)) != getattr(defaults, name)
        }
        extensions = _with_own(extensions, own)
        extensions.pop("character_filter", None)
    if extensions or "extensions" in raw:
        result["extensions"] = extensions
    return result


def _write_combined_fields(
    result: _Table, extensions: _Table, new: LoreEntry, is_changed: Callable[..., bool]
) -> None:
    """Write the fields of an entry that have several keys or different values in a card."""
    if is_changed("keys", "secondary", "logic"):
        result["keys"], result["secondary_keys"] = list(new.keys), list(new.secondary)
        result["selective"] = bool(new.secondary)
        result["use_regex"] = any(map(is_pattern, (*new.keys, *new.secondary)))
        extensions["selectiveLogic"] = _LOGICS.index(new.logic)
    if is_changed("name"):
        result["comment" if "comment" in result and not result.get("name") else "name"] = new.name
    if is_changed("position", "depth"):
        result["position"] = "before_char" if new.position is Position.BEFORE else "after_char"
        extensions |= {"position": _POSITIONS[new.position], "depth": new.depth}
    if is_changed("case_sensitive"):
        result["case_sensitive"] = extensions["case_sensitive"] = new.case_sensitive
    if is_changed("probability"):
        extensions |= {"probability": new.probability, "useProbability": True}
    if is_changed("role"):
        extensions["role"] = _ROLES.index(new.role)
    if is_changed("only_recursion", "recursion_level"):
        level = new.recursion_level if new.recursion_level > 1 else True
        extensions["delay_until_recursion"] = new.only_recursion and level
    if is_changed("matches"):
        extensions |= {key: name in new.matches for key, name in MATCH_FLAGS.items()}
    if is_changed("recursable", "recurses"):
        extensions |= {"exclude_recursion": not new.recursable, "prevent_recursion": not new.recurses}


def _written_content(
    content: str, decorated: decorators.Decorated, new: LoreEntry, *, keeps_all: bool
) -> str:
    """Return the new content after the old decorator lines, either all or only the unsupported ones."""
    if keeps_all and (decorated.known or decorated.unknown):
        return content[: len(content) - len(decorated.content)] + new.content
    head = "".join(f"{line}\n" for line in decorated.unknown)
    return f"{head}\n{new.content}" if head else new.content
