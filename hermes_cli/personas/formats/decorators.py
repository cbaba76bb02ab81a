"""Parses decorators: lines such as `@@depth 2` at the start of a lore entry's content in V3 cards.

Source: the Character Card V3 specification, "Decorators". Unsupported decorators are left out with a remark.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hermes_cli.messages import Role
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Logic, Position

MOST: Final = 25
"""The maximum number of decorators in an entry. Further ones are part of the content."""
FOREVER: Final = 1_000_000
ATTRIBUTES: Final = (
    *("position", "depth", "scan_depth", "constant", "enabled", "secondary", "logic", "sticky", "cooldown"),
    *("after_answers", "greeting", "role"),
)
"""The attributes of a LoreEntry that decorators can set."""
_MARK: Final = "@@"
_FALLBACK: Final = "@@@"
_LINES: Final = re.compile(rf"(?:{_MARK}[^\n]*+(?:\n[\r\n]*+)?){{1,{MOST}}}+")
"""The decorators at the start of a content, with the empty lines after them."""
_MAX_NUMBER: Final = 1_000
"""The maximum of the numbers in decorators, which are depths in messages."""
_POSITIONS: Final = {
    "before_desc": Position.BEFORE,
    **dict.fromkeys(("after_desc", "personality", "scenario"), Position.AFTER),
}


class Decorated(NamedTuple):
    """Content without its decorators, the supported decorators by name, and the lines of unsupported ones."""

    content: str
    known: dict[str, str]
    unknown: tuple[str, ...] = ()


def split(content: str) -> Decorated:
    """Separate content from its decorators. A `@@@` line is used only if the one before it is unsupported."""
    rest = content.lstrip("\r\n")
    if not rest.startswith(_MARK):
        return Decorated(content, {})
    lines = _LINES.match(rest)
    head = lines[0] if lines else ""
    known, unknown, is_known = dict[str, str](), list[str](), False
    for line in filter(None, head.split("\n")):
        is_fallback = line.startswith(_FALLBACK)
        if is_fallback and is_known:
            continue
        name, _, value = line[len(_FALLBACK) if is_fallback else len(_MARK) :].strip().partition(" ")
        is_known = name in _KNOWN and _KNOWN[name](value.strip()) is not None
        if not is_known:
            unknown.append(line)
        elif name not in known:  # of several, the first one is used
            known[name] = value.strip()
    return Decorated(rest[len(head) :], known, tuple(unknown))


def changes(decorated: Decorated, secondary: tuple[str, ...], remarks: Remarks) -> dict[str, Any]:
    """Return the attributes of a LoreEntry that decorators set. `secondary` are its own secondary keys."""
    result = dict[str, Any]()
    for name in sorted(decorated.known, key=_ORDER.__getitem__):
        result |= _KNOWN[name](decorated.known[name]) or {}
    if "secondary" in result and (secondary or {"additional_keys", "exclude_keys"} <= decorated.known.keys()):
        remarks.add("an entry has several kinds of secondary keys; only those of its decorator are used")
    if decorated.known.get("position") in {"personality", "scenario"}:
        remarks.add("entries at the personality or the scenario are placed after the character's description")
    starts = dict.fromkeys(line[:30] for line in decorated.unknown)
    for name in dict.fromkeys(start.partition(" ")[0] for start in starts):
        remarks.add(f"the decorator {name} is left out")
    return result


def _integer(make: Callable[[int], dict[str, Any]]) -> Callable[[str], dict[str, Any] | None]:
    def read(value: str) -> dict[str, Any] | None:
        if not value.isascii() or not value.isdigit() or len(value) > len(str(_MAX_NUMBER)):
            return None
        number = int(value)
        return make(number) if number <= _MAX_NUMBER else None

    return read


def _constant(**changes: Any) -> Callable[[str], dict[str, Any] | None]:
    return lambda _value: changes


def _position(value: str) -> dict[str, Any] | None:
    return {"position": _POSITIONS[value]} if value in _POSITIONS else None


def _role(value: str) -> dict[str, Any] | None:
    return {"role": Role(value)} if value in list(Role) else None


def _keys(logic: Logic) -> Callable[[str], dict[str, Any] | None]:
    def read(value: str) -> dict[str, Any] | None:
        keys = tuple(key.strip() for key in value.split(",") if key.strip())
        return {"secondary": keys, "logic": logic} if keys else None

    return read


_KNOWN: Final[dict[str, Callable[[str], dict[str, Any] | None]]] = {
    "additional_keys": _keys(Logic.AND_ANY),
    "exclude_keys": _keys(Logic.NOT_ANY),
    "scan_depth": _integer(lambda n: {"scan_depth": n}),
    "depth": _integer(lambda n: {"position": Position.DEPTH, "depth": n}),
    "position": _position,
    "role": _role,
    "activate_only_after": _integer(lambda n: {"after_answers": n}),
    "is_greeting": _integer(lambda n: {"greeting": n}),
    "keep_activate_after_match": _constant(sticky=FOREVER),
    "dont_activate_after_match": _constant(cooldown=FOREVER),
    "dont_activate": _constant(enabled=False),
    "activate": _constant(enabled=True, constant=True),
}
"""The supported decorators in the order of application. If two conflict, the later one wins, as specified."""
_ORDER: Final = {name: number for number, name in enumerate(_KNOWN)}
