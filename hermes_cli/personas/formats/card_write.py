"""Writes character cards by applying the changes in a Persona to the document that it was read from.

Unknown keys are preserved, even if the card is converted to another version.
"""

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import book_write, card, regex_scripts
from hermes_cli.personas.formats.card import OWN, SPECS, TEXTS, V1_KEYS, Version
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.persona import Note, Persona

_START: Final = "<START>"
_STEP: Final = 1 << 16
_PIECES: Final = 500
_V2_TEXTS: Final = (*V1_KEYS, "creator_notes", "system_prompt", "post_history_instructions", "creator")
_FIRST_VERSION: Final = "1.0"
_TEXT_KEYS: Final = {"name": "name", "nickname": "nickname", "creator_notes": "creator_notes", **TEXTS}
_WITHOUT_CARD_KEY: Final = ("description", "user", "context")
"""Persona attributes that have no key of their own in a card. They are stored in the card's extensions."""


def build(document: Mapping[str, Any] | None, new: Persona, version: Version) -> dict[str, Any]:
    """Return a card of the given version that parses as `new`.

    It is based on `document`, a card of any version, unless that is None. Raises PersonaError if `document`
    cannot be read.
    """
    source = new.original or new.source
    base = as_version(document, version, source) if document else _empty(new.name, version)
    return apply_changes(base, card.read(base, source, Remarks()), new)


def as_version(document: Mapping[str, Any], version: Version, source: Path) -> dict[str, Any]:
    """Convert a card to another version without loss. Raises PersonaError if it is not a card."""
    old_version, was_flat = card.version(document), card.is_flat(document)
    if old_version == version and (version == 1 or not was_flat):
        return dict(document)
    data = card.data_of(document, source)
    outer = {key: value for key, value in document.items() if key not in {"spec", "spec_version", "data"}}
    if was_flat:  # all keys move with the fields; keys outside `data` stay outside
        data, outer = outer, {}
    if version == 1:
        return outer | _filled(data, 1)
    return _wrapped(_filled(data, version), version) | outer


def apply_changes(document: Mapping[str, Any], old: Persona, new: Persona) -> dict[str, Any]:
    """Return `document` with the differences between `old` and `new` applied.

    `old` is the persona in `document` or in another version of the same card.
    """
    is_flat, source = card.is_flat(document), new.original or new.source
    result = dict(document)
    data = result if is_flat else dict(card.data_of(document, source))
    for key, value in _changes(old, new).items():
        data[key] = value
        # Early V2 cards repeat the V1 fields outside `data`.
        if not is_flat and key in V1_KEYS and isinstance(document.get(key), str):
            result[key] = value
    notes = data.get("creator_notes_multilingual")
    if new.creator_notes != old.creator_notes and isinstance(notes, dict) and "en" in notes:
        data["creator_notes_multilingual"] = notes | {"en": new.creator_notes}
    lorebook = _own_book(new)
    if lorebook is None and _own_book(old):
        data.pop("character_book", None)
    elif lorebook and lorebook != _own_book(old):
        data["character_book"] = book_write.write(data.get("character_book"), lorebook, source)
    _apply_to_extensions(data, old, new)
    return result if is_flat else result | {"data": data}


def _own_book(persona: Persona) -> Lorebook | None:
    """Return a persona's lorebook without its source, or None if there is none or it is empty."""
    lorebook = persona.lorebook and persona.lorebook._replace(source=None)
    return None if lorebook == Lorebook() else lorebook


def text(document: Mapping[str, Any], source: Path, *, short: bool = False) -> bytes:
    """Return a card as JSON in UTF-8. Raises PersonaError if it is too large to be read back."""
    separators, indent = ((",", ":"), None) if short else (None, 2)
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    data = bytearray()
    pieces = encoder.iterencode(document)
    # Encoding in parts saves memory: in a str with an emoji, every character takes four bytes.
    while part := list(islice(pieces, _PIECES)):
        if sum(map(len, part)) <= _STEP:
            data += "".join(part).encode()
            continue
        for piece in part:
            for start in range(0, len(piece), _STEP):
                data += piece[start : start + _STEP].encode()
    if len(data) > card.LIMITS.size:
        raise PersonaError(
            f"{source}: the resulting card would be larger than {card.LIMITS.size >> 20} MiB",
            "shorten its text or remove lorebook entries",
        )
    return bytes(data) if short else bytes(data) + b"\n"


def _empty(name: str, version: Version) -> dict[str, Any]:
    data = _filled({"name": name}, version)
    return data if version == 1 else _wrapped(data, version)


def _wrapped(data: dict[str, Any], version: Version) -> dict[str, Any]:
    spec, spec_version = SPECS[version]
    return {"spec": spec, "spec_version": spec_version, "data": data}


def _filled(data: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """Return a card's fields, with defaults for missing fields that the version requires."""
    required: dict[str, Any] = dict.fromkeys(V1_KEYS if version == 1 else _V2_TEXTS, "")
    if version > 1:
        required |= {
            "alternate_greetings": [],
            "tags": [],
            "character_version": _FIRST_VERSION,
            "extensions": {},
        }
    if version > 2:  # noqa: PLR2004 - a version
        required["group_only_greetings"] = []
    result = required | {
        key: value for key, value in data.items() if value is not None or key not in required
    }
    lorebook = result.get("character_book")
    if version > 2 and isinstance(lorebook, dict) and isinstance(lorebook.get("entries"), list):  # noqa: PLR2004
        entries = [
            {"use_regex": False, **entry} if isinstance(entry, dict) else entry
            for entry in lorebook["entries"]
        ]
        result["character_book"] = lorebook | {"entries": entries}  # V3 requires `use_regex`
    return result


def _changes(old: Persona, new: Persona) -> dict[str, Any]:
    """Return the new values of the changed keys of a card, except its lorebook and extensions."""
    result = dict[str, Any]()
    for attribute, key in _TEXT_KEYS.items():
        before, after = _value(old, attribute), _value(new, attribute)
        if before != after and (before.strip() or after.strip()):
            result[key] = after
    if new.greetings != old.greetings:
        result["first_mes"] = next(iter(new.greetings), "")
        result["alternate_greetings"] = list(new.greetings[1:])
    return result


def _value(persona: Persona, attribute: str) -> str:
    if attribute != "dialogue" or not persona.examples:
        return str(getattr(persona, attribute))
    above = f"{persona.dialogue.rstrip()}\n" if persona.dialogue.strip() else ""
    pairs = [
        f"{_START}\n{{{{user}}}}: {example.user}\n{{{{char}}}}: {example.assistant}"
        for example in persona.examples
    ]
    return above + "\n".join(pairs)


def _apply_to_extensions(data: dict[str, Any], old: Persona, new: Persona) -> None:
    extensions = _table(data.get("extensions"))
    own = _table(extensions.get(OWN))
    if new.note != old.note:
        _put(extensions, "depth_prompt", _depth_prompt(extensions.get("depth_prompt"), new.note))
    if new.worlds != old.worlds:
        _put(extensions, "world", next(iter(new.worlds), ""))
        _put(own, "worlds", list(new.worlds) if len(new.worlds) > 1 else None)
    if new.regex != old.regex:
        scripts = regex_scripts.write(extensions.get(regex_scripts.KEY), old.regex, new.regex)
        _put(extensions, regex_scripts.KEY, scripts)
    for name in _WITHOUT_CARD_KEY:
        if (getattr(new, name) or "") != (getattr(old, name) or ""):
            _put(own, name, getattr(new, name))
    if dict(new.options) != dict(old.options):
        options = {
            key: list(value) if isinstance(value, tuple) else value for key, value in new.options.items()
        }
        _put(own, "options", options)
    _put(extensions, OWN, own)
    if extensions != _table(data.get("extensions")):
        data["extensions"] = extensions


def _depth_prompt(before: Any, note: Note | None) -> dict[str, Any] | None:
    if note is None:
        return None
    return {"role": "system"} | _table(before) | {"prompt": note.text, "depth": note.depth}


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a key, or remove it if the value is empty."""
    if value:
        table[key] = value
    else:
        table.pop(key, None)
