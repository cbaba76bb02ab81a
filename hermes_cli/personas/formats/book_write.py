"""Writes the lorebook of a character card: only the changes to the lorebook that it was read from.

Each field of an Entry goes to the key that `book.py` reads it from. Old and new entries are matched by their
content, and unknown keys of an entry are preserved.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import book, decorators
from hermes_cli.personas.formats.fields import Fields
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Lorebook, LoreEntry, Position

_PLAIN: Final = {
    "enabled": "enabled",
    "constant": "constant",
    "order": "insertion_order",
    "priority": "priority",
}
_MORE: Final = {
    "whole_words": "match_whole_words",
    "scan_depth": "scan_depth",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "only_recursion": "delay_until_recursion",
    "ignores_budget": "ignore_budget",
}
_BOOK: Final = {
    "name": "name",
    "description": "description",
    "scan_depth": "scan_depth",
    "token_budget": "token_budget",
    "recursive": "recursive_scanning",
}
_PLACES: Final = {Position.BEFORE: book.BEFORE, Position.AFTER: book.AFTER, Position.DEPTH: book.AT_DEPTH}
_BY_DECORATOR: Final = (
    "position",
    "depth",
    "scan_depth",
    "constant",
    "enabled",
    "secondary",
    "logic",
    "sticky",
    "cooldown",
)
_NOTHING: Final = Lorebook()


def write(raw: Any, new: Lorebook, source: Path) -> dict[str, Any]:
    """Return the old lorebook of a card, `raw`, if there is one, with the changes of `new` applied.

    Raises PersonaError if the old one cannot be read.
    """
    result: dict[str, Any] = dict(raw) if isinstance(raw, dict) else {}
    fields = Fields(result, Remarks())
    old = book.read(fields, source) if result else _NOTHING
    for name, key in _BOOK.items():
        value = getattr(new, name)
        if value != getattr(old, name):
            if value is None:
                result.pop(key, None)
            else:
                result[key] = value
    if new.entries != old.entries or "entries" not in result:
        result["entries"] = _entries(book.raw_entries(fields, source), old.entries, new.entries)
    result.setdefault("extensions", {})
    return result


def _entries(
    raws: list[dict[str, Any]], old: tuple[LoreEntry, ...], new: tuple[LoreEntry, ...]
) -> list[dict[str, Any]]:
    free = _next_id(raws)
    result = []
    for one, place in zip(new, _places(old, new), strict=True):
        if place is None:
            result.append(_put({"id": free, "extensions": {}}, None, one))
            free += 1
        else:
            result.append(_put(raws[place], old[place], one))
    return result


def _next_id(raws: list[dict[str, Any]]) -> int:
    """Return an unused id. If an entry has no id, SillyTavern uses its index in the list."""
    ids: list[int] = [raw["id"] for raw in raws if isinstance(raw.get("id"), int)]
    return max([len(raws) - 1, *ids]) + 1


def _places(old: tuple[LoreEntry, ...], new: tuple[LoreEntry, ...]) -> list[int | None]:
    """Return the index of the old entry for each new entry, or None.

    Entries are matched by equality, then by name, by keys, by content, and at last by index.
    """
    result: list[int | None] = [None] * len(new)
    signs: tuple[Callable[[int, LoreEntry], object], ...] = (
        lambda _n, one: one,
        lambda _n, one: one.name or None,
        lambda _n, one: one.keys or None,
        lambda _n, one: one.content or None,
        lambda n, _one: n,
    )
    free = set(range(len(old)))
    for sign in signs:
        by_sign = defaultdict[object, list[int]](list)
        for n in sorted(free, reverse=True):
            by_sign[sign(n, old[n])].append(n)
        for n, one in enumerate(new):
            wanted = sign(n, one)
            if result[n] is None and wanted is not None and by_sign.get(wanted):
                place = by_sign[wanted].pop()
                result[n] = place
                free.discard(place)
    return result


def _put(raw: dict[str, Any], old: LoreEntry | None, new: LoreEntry) -> dict[str, Any]:
    """Return a raw entry that parses as `new`."""
    if old == new:
        return raw
    result = dict(raw)
    more: dict[str, Any] = dict(raw["extensions"]) if isinstance(raw.get("extensions"), dict) else {}
    decorated = decorators.split(Fields(raw, Remarks()).text("content"))
    if old is not None and decorated.said and any(getattr(old, n) != getattr(new, n) for n in _BY_DECORATOR):
        old = None  # the decorators would override the fields, so they are removed and all fields are written

    def is_changed(*names: str) -> bool:
        return old is None or any(getattr(old, name) != getattr(new, name) for name in names)

    if is_changed("content"):
        result["content"] = _content(raw, decorated, new, keeps_all=old is not None)
    for table, keys in ((result, _PLAIN), (more, _MORE)):
        table.update({key: getattr(new, name) for name, key in keys.items() if is_changed(name)})
    for names, put in _TOGETHER.items():
        if is_changed(*names):
            put(result, more, new)
    if more or "extensions" in raw:
        result["extensions"] = more
    return result


def _put_keys(result: dict[str, Any], more: dict[str, Any], new: LoreEntry) -> None:
    result["keys"], result["secondary_keys"] = list(new.keys), list(new.secondary)
    result["selective"] = bool(new.secondary)
    result["use_regex"] = any(map(book.is_pattern, (*new.keys, *new.secondary)))
    more["selectiveLogic"] = book.LOGICS.index(new.logic)


def _put_name(result: dict[str, Any], _more: dict[str, Any], new: LoreEntry) -> None:
    result["comment" if "comment" in result and not result.get("name") else "name"] = new.name


def _put_place(result: dict[str, Any], more: dict[str, Any], new: LoreEntry) -> None:
    result["position"] = "before_char" if new.position is Position.BEFORE else "after_char"
    more |= {"position": _PLACES[new.position], "depth": new.depth}


def _put_case(result: dict[str, Any], more: dict[str, Any], new: LoreEntry) -> None:
    result["case_sensitive"] = more["case_sensitive"] = new.case_sensitive


def _put_chance(_result: dict[str, Any], more: dict[str, Any], new: LoreEntry) -> None:
    more |= {"probability": new.probability, "useProbability": True}


def _put_recursion(_result: dict[str, Any], more: dict[str, Any], new: LoreEntry) -> None:
    more |= {"exclude_recursion": not new.recursable, "prevent_recursion": not new.recurses}


_Put = Callable[[dict[str, Any], dict[str, Any], LoreEntry], None]
_TOGETHER: Final[dict[tuple[str, ...], _Put]] = {
    ("keys", "secondary", "logic"): _put_keys,
    ("name",): _put_name,
    ("position", "depth"): _put_place,
    ("case_sensitive",): _put_case,
    ("probability",): _put_chance,
    ("recursable", "recurses"): _put_recursion,
}
"""Fields of an Entry that are written together."""


def _content(raw: dict[str, Any], decorated: decorators.Decorated, new: LoreEntry, *, keeps_all: bool) -> str:
    """Return the content below its decorators: all of them, or only those that hermes does not support."""
    if keeps_all and (decorated.said or decorated.others):
        whole = Fields(raw, Remarks()).text("content")
        return whole[: len(whole) - len(decorated.content)] + new.content
    head = "".join(f"{line}\n" for line in decorated.others)
    return f"{head}\n{new.content}" if head else new.content
