"""Writes the lorebook in a character card, `character_book`.

Only changed fields of the original are replaced: old and new entries are matched, and unknown keys are
preserved.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hermes_cli.personas.formats import decorators
from hermes_cli.personas.formats.book import (
    BOOK_FIELDS,
    ENTRY_FIELDS,
    EXTENSION_FIELDS,
    LOGICS,
    MATCH_FLAGS,
    OWN,
    OWN_FIELDS,
    OWN_SETTINGS,
    POSITIONS,
    ROLES,
    SETTING_FIELDS,
    Table,
    is_pattern,
    raw_entries,
    read,
)
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Lorebook, LoreEntry, Position
from hermes_cli.untrusted.value import Value


def write(raw: Any, new: Lorebook, source: Path) -> Table:
    """Return a card's lorebook with the changes in `new`. `raw` is the old lorebook, or None.

    Raises PersonaError if `raw` cannot be read.
    """
    result: Table = dict(raw) if isinstance(raw, dict) else {}
    table = Value(result, Remarks())
    old = read(table, source, Remarks()) if result else Lorebook()
    for attribute, (key, _) in BOOK_FIELDS.items():
        value = getattr(new, attribute)
        if value != getattr(old, attribute):
            result[key] = value
    if new.entries != old.entries or "entries" not in result:
        result["entries"] = _written_entries(raw_entries(table, source), old.entries, new.entries)
    result.setdefault("extensions", {})
    _write_settings(result, old, new)
    return result


def _write_settings(result: Table, old: Lorebook, new: Lorebook) -> None:
    """Write the settings, if they have changed, for hermes and for programs that follow the specification."""
    if all(getattr(old, name) == getattr(new, name) for name in OWN_SETTINGS):
        return
    own = {name: value for name in OWN_SETTINGS if (value := getattr(new, name)) is not None}
    for name, (key, _) in SETTING_FIELDS.items():
        if name in own:
            result[key] = own[name]
        else:
            result.pop(key, None)
    extensions = result["extensions"] if isinstance(result["extensions"], dict) else {}
    result["extensions"] = _with_own(extensions, own)


def _with_own(extensions: Table, own: Table) -> Table:
    """Return `extensions` with these fields of hermes', and without the key if there are none."""
    return {key: extensions[key] for key in extensions if key != OWN} | ({OWN: own} if own else {})


def _written_entries(
    raws: list[Table], old: tuple[LoreEntry, ...], new: tuple[LoreEntry, ...]
) -> list[Table]:
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


def _written_entry(raw: Table, old: LoreEntry | None, new: LoreEntry) -> Table:
    """Return the raw entry with the changes in `new`, so that it parses as `new`."""
    if old == new:
        return raw
    result = dict(raw)
    extensions: Table = dict(raw["extensions"]) if isinstance(raw.get("extensions"), dict) else {}
    content = Value(raw, Remarks()).get("content").text()
    decorated = decorators.split(content)
    if old and decorated.known and any(getattr(old, n) != getattr(new, n) for n in decorators.ATTRIBUTES):
        old = None  # the decorators override fields, so they are removed and all fields are written

    def is_changed(*attributes: str) -> bool:
        return old is None or any(getattr(old, name) != getattr(new, name) for name in attributes)

    if is_changed("content"):
        result["content"] = _written_content(content, decorated, new, keeps_all=old is not None)
    for table, fields in ((result, ENTRY_FIELDS), (extensions, EXTENSION_FIELDS)):
        table.update({key: getattr(new, name) for name, (key, _) in fields.items() if is_changed(name)})
    _write_combined_fields(result, extensions, new, is_changed)
    if is_changed(*OWN_FIELDS, "only_recursion"):
        defaults = LoreEntry("")
        own = {
            name: list(value) if isinstance(value, tuple) else value
            for name in OWN_FIELDS
            if (value := getattr(new, name)) != getattr(defaults, name)
        }
        extensions = _with_own(extensions, own)
        extensions.pop("character_filter", None)
    if extensions or "extensions" in raw:
        result["extensions"] = extensions
    return result


def _write_combined_fields(
    result: Table, extensions: Table, new: LoreEntry, is_changed: Callable[..., bool]
) -> None:
    """Write the fields of an entry that have several keys or different values in a card."""
    if is_changed("keys", "secondary", "logic"):
        result["keys"], result["secondary_keys"] = list(new.keys), list(new.secondary)
        result["selective"] = bool(new.secondary)
        result["use_regex"] = any(map(is_pattern, (*new.keys, *new.secondary)))
        extensions["selectiveLogic"] = LOGICS.index(new.logic)
    if is_changed("name"):
        result["comment" if "comment" in result and not result.get("name") else "name"] = new.name
    if is_changed("position", "depth"):
        result["position"] = "before_char" if new.position is Position.BEFORE else "after_char"
        extensions |= {"position": POSITIONS[new.position], "depth": new.depth}
    if is_changed("case_sensitive"):
        result["case_sensitive"] = extensions["case_sensitive"] = new.case_sensitive
    if is_changed("probability"):
        extensions |= {"probability": new.probability, "useProbability": True}
    _write_sillytavern_fields(extensions, new, is_changed)


def _write_sillytavern_fields(extensions: Table, new: LoreEntry, is_changed: Callable[..., bool]) -> None:
    """Write the fields of an entry that have different values in SillyTavern's `extensions`."""
    if is_changed("role"):
        extensions["role"] = ROLES.index(new.role)
    if is_changed("only_recursion", "recursion_level"):
        level = new.recursion_level if new.recursion_level > 1 else True
        extensions["delay_until_recursion"] = new.only_recursion and level
    if is_changed("groups"):
        extensions["group"] = ", ".join(new.groups)
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
