"""Reads character cards, versions 1 to 3, into a Persona.

V1 is a flat object; `chara_card_v2` and `chara_card_v3` have the same fields and more under `data` (sources:
the Character Card V2 and V3 specifications). `card_write.py` writes cards; `png.py` and `charx.py` extract
them from their containers.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.options import FIELDS, OptionError, check_value
from hermes_cli.personas.formats import book
from hermes_cli.personas.formats.fields import Fields
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.native import MAX_NOTE_DEPTH
from hermes_cli.personas.persona import Note, Persona

Version = int
"""1, 2 or 3; 0 means that the document is not a card."""
SPECS: Final[Mapping[Version, tuple[str, str]]] = {2: ("chara_card_v2", "2.0"), 3: ("chara_card_v3", "3.0")}
"""The values of `spec` and `spec_version`."""
V1_KEYS: Final = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
OWN: Final = "openhermes"
"""The key of `extensions` for hermes' data that cards have no field for."""
TEXTS: Final = {
    "character": "description",
    "personality": "personality",
    "scenario": "scenario",
    "dialogue": "mes_example",
    "system": "system_prompt",
    "post_history": "post_history_instructions",
}
"""Fields of a Persona, and the keys of a card for the same texts."""
_SIGNS: Final = 2
"""The number of V1 keys from which an object counts as a card."""
_SPEC: Final = re.compile(r"chara_card_v(\d{1,3})")
_TOLD: Final = 8
_KNOWN_KEYS: Final = frozenset(
    (
        *V1_KEYS,
        *TEXTS.values(),
        *("nickname", "alternate_greetings", "creator_notes", "creator_notes_multilingual", "character_book"),
        *("extensions", "tags", "creator", "character_version", "source", "creation_date"),
        *("modification_date", "spec", "spec_version", "data", "avatar", "chat", "create_date"),
    )
)
"""The keys that hermes uses, and those that only describe a card's origin."""
_KNOWN_EXTENSIONS: Final = frozenset(("depth_prompt", "world", OWN, "talkativeness", "fav"))


def version(document: Mapping[str, Any]) -> Version:
    """Return the card version of a JSON document. Versions newer than 3 count as 3."""
    spec, data = document.get("spec"), document.get("data")
    if isinstance(spec, str) and (told := _SPEC.fullmatch(spec)):
        return min(max(int(told[1]), 2), 3)
    if isinstance(data, dict):
        return 2 if spec is None and _has_signs(data) else 0
    return 1 if _has_signs(document) else 0


def data_of(document: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Return the object with a card's fields. Raises PersonaError if there is none."""
    if version(document) == 1:
        return dict(document)
    data = document.get("data")
    if not isinstance(data, dict):
        raise PersonaError(f"{source} says that it is a card, and has no 'data'", "get the file again")
    return data


def read(document: Mapping[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona of a card. Raises PersonaError if the card is invalid."""
    fields = Fields(data_of(document, source), remarks)
    _tell_version(document, remarks)
    more = fields.inner("extensions")
    own = more.inner(OWN)
    name = fields.line("name")
    if not name:
        remarks.add("it has no name; it is called as its file is")
    persona = Persona(
        name=name or " ".join(source.stem.split()) or "card",
        source=source,
        description=_said(own, "description"),
        greetings=tuple(text for text in _greetings(fields) if text.strip()),
        note=_note(more.inner("depth_prompt")),
        user=own.line("user") or None,
        creator_notes=_creator_notes(fields),
        lorebook=_lorebook(fields.inner("character_book"), source),
        worlds=_worlds(more, own),
        options=_options(own.inner("options")),
        nickname=fields.line("nickname"),
        character=_said(fields, TEXTS["character"]),
        personality=_said(fields, TEXTS["personality"]),
        scenario=_said(fields, TEXTS["scenario"]),
        dialogue=_said(fields, TEXTS["dialogue"]),
        system=_said(fields, TEXTS["system"]),
        post_history=_said(fields, TEXTS["post_history"]),
    )
    if not (persona.is_character or persona.system.strip()):
        remarks.add("it says nothing of who the character is")
    _tell_unused(fields, more, remarks)
    return persona


def _has_signs(table: Mapping[str, Any]) -> bool:
    return sum(key in table for key in V1_KEYS) >= _SIGNS


def _said(fields: Fields, key: str) -> str:
    """Return a text, or an empty text if it is blank."""
    text = fields.text(key)
    return text if text.strip() else ""


def _greetings(fields: Fields) -> tuple[str, ...]:
    alternates = fields.table.get("alternate_greetings")
    # A single string is one greeting, even if it has commas.
    others = (_said(fields, "alternate_greetings"),) if isinstance(alternates, str) else ()
    return (fields.text("first_mes"), *(others or fields.texts("alternate_greetings")))


def _creator_notes(fields: Fields) -> str:
    return _said(fields, "creator_notes") or _said(fields.inner("creator_notes_multilingual"), "en")


def _note(prompt: Fields) -> Note | None:
    text = _said(prompt, "prompt")
    if not text:
        return None
    depth = prompt.whole("depth", 0, book.MOST)
    depth = Note("").depth if depth is None else depth
    if depth > MAX_NOTE_DEPTH:
        prompt.remarks.add(f"its note stands {depth:,} turns from the end; hermes goes to {MAX_NOTE_DEPTH}")
    role = prompt.table.get("role")
    if isinstance(role, str) and role in {"user", "assistant"}:
        prompt.remarks.add(f"its note is told by the {role}; hermes tells it as the system")
    return Note(text, min(depth, MAX_NOTE_DEPTH))


def _lorebook(fields: Fields, source: Path) -> Lorebook | None:
    found = book.read(fields, source)
    return None if found == Lorebook() else found


def _worlds(more: Fields, own: Fields) -> tuple[str, ...]:
    names = (_said(more, "world"), *own.texts("worlds"))
    return tuple(dict.fromkeys(name for name in names if name.strip()))


def _options(table: Fields) -> Mapping[str, Any]:
    found = dict[str, Any]()
    for name, value in table.table.items():
        if name not in FIELDS:  # a suggestion for each of 100,000 names would take seconds
            table.remarks.add(f"the option '{name[:60]}' is left out: hermes has none of that name")
            continue
        try:
            found[name] = check_value(name, value)
        except OptionError as error:
            table.remarks.add(f"{error}; it is left out")
    return MappingProxyType(found)


def _tell_version(document: Mapping[str, Any], remarks: Remarks) -> None:
    spec, told = document.get("spec"), document.get("spec_version")
    if spec is None:
        if version(document) > 1:
            remarks.add(f"it names no 'spec'; it is read as {SPECS[2][0]}")
        return
    known, newest = SPECS.get(version(document), ("a V1 card", "1.0"))
    if spec != known:
        says = f"'{spec[:30]}'" if isinstance(spec, str) else "no text in 'spec'"
        remarks.add(f"it says {says}, which hermes does not know; it is read as {known}")
    elif isinstance(told, str) and _number(told) > float(newest):
        remarks.add(f"its spec_version {told[:30]} is newer than {newest}, which hermes knows")


def _number(text: str) -> float:
    try:
        return float(text[:30])
    except ValueError:
        return 0.0


def _tell_unused(fields: Fields, more: Fields, remarks: Remarks) -> None:
    keys = [key for key, value in fields.table.items() if key not in _KNOWN_KEYS and value]
    keys += [
        f"extensions.{key}" for key, value in more.table.items() if key not in _KNOWN_EXTENSIONS and value
    ]
    if keys:
        rest = f" and {len(keys) - _TOLD:,} more" if len(keys) > _TOLD else ""
        remarks.add(f"kept, and not used: {', '.join(key[:30] for key in keys[:_TOLD])}{rest}")
