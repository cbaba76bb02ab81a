"""Decorators: lines such as `@@depth 2` at the start of a lorebook entry's content, as V3 cards have them.

After the Character Card V3 specification, "Decorators". It knows which of them say what an Entry can hold;
the others are left out with a remark. It refuses to know where an entry came from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from hermes_cli.personas.formats.found import Remarks
from hermes_cli.personas.lorebook import Entry, Logic, Position

MARK: Final = "@@"
MOST: Final = 25
"""Decorators of an entry, of which the specification has fewer; beyond them the rest is text."""
_FALLBACK: Final = "@@@"
FOREVER: Final = 1_000_000
_MOST: Final = 1_000
"""Messages that no chat has, and the depth that no prompt has."""
_POSITIONS: Final = {"before_desc": Position.BEFORE, "after_desc": Position.AFTER}


@dataclass(frozen=True, slots=True)
class Decorated:
    """A content without its decorators: what they say of the entry, and the lines that hermes cannot use."""

    content: str
    said: dict[str, str]
    others: tuple[str, ...] = ()


def split(content: str) -> Decorated:
    """Return a content and its decorators apart. A `@@@` line counts where the one before it does not."""
    rest = content.lstrip("\r\n")
    if not rest.startswith(MARK):
        return Decorated(content, {})
    said, others, taken, at, left = dict[str, str](), list[str](), False, 0, MOST
    while rest.startswith(MARK, at) and left:
        left -= 1
        end = rest.find("\n", at)
        line, at = (rest[at:], len(rest)) if end < 0 else (rest[at:end], end)
        while at < len(rest) and rest[at] in "\r\n":
            at += 1
        is_fallback = line.startswith(_FALLBACK)
        if is_fallback and taken:
            continue
        name, _, value = line.removeprefix(_FALLBACK if is_fallback else MARK).strip().partition(" ")
        taken = name in _KNOWN and _KNOWN[name](value.strip()) is not None
        if not taken:
            others.append(line)
        elif name not in said:  # of several the first counts
            said[name] = value.strip()
    return Decorated(rest[at:], said, tuple(others))


def apply(entry: Entry, decorated: Decorated, remarks: Remarks) -> Entry:
    """Return an entry as its decorators want it."""
    changes: dict[str, Any] = {"content": decorated.content}
    for name in _ORDER:
        if name in decorated.said:
            changes |= _KNOWN[name](decorated.said[name]) or {}
    if "secondary" in changes and (
        entry.secondary or {"additional_keys", "exclude_keys"} <= decorated.said.keys()
    ):
        remarks.add("an entry has several kinds of secondary keys; hermes takes the decorator's")
    for name in {line[:30].partition(" ")[0]: None for line in decorated.others}:
        remarks.add(f"the decorator {name} is left out")
    return replace(entry, **changes)


def _whole(low: int, make: Callable[[int], dict[str, Any]]) -> Callable[[str], dict[str, Any] | None]:
    def read(value: str) -> dict[str, Any] | None:
        if not value.isascii() or not value.isdigit() or len(value) > len(str(_MOST)):
            return None
        number = int(value)
        return make(number) if low <= number <= _MOST else None

    return read


def _fixed(**changes: Any) -> Callable[[str], dict[str, Any] | None]:
    return lambda _value: changes


def _position(value: str) -> dict[str, Any] | None:
    return {"position": _POSITIONS[value]} if value in _POSITIONS else None


def _keys(logic: Logic) -> Callable[[str], dict[str, Any] | None]:
    def read(value: str) -> dict[str, Any] | None:
        keys = tuple(key.strip() for key in value.split(",") if key.strip())
        return {"secondary": keys, "logic": logic} if keys else None

    return read


_KNOWN: Final[dict[str, Callable[[str], dict[str, Any] | None]]] = {
    "additional_keys": _keys(Logic.AND_ANY),
    "exclude_keys": _keys(Logic.NOT_ANY),
    "scan_depth": _whole(0, lambda n: {"scan_depth": n}),
    "depth": _whole(0, lambda n: {"position": Position.DEPTH, "depth": n}),
    "position": _position,
    "keep_activate_after_match": _fixed(sticky=FOREVER),
    "dont_activate_after_match": _fixed(cooldown=FOREVER),
    "dont_activate": _fixed(enabled=False),
    "activate": _fixed(enabled=True, constant=True),
}
_ORDER: Final = tuple(_KNOWN)
"""Where two of them differ, the specification lets the later one of this order win."""
