"""Reads character cards of versions 1 to 3 as personas.

V1 is a flat object; `chara_card_v2` and `chara_card_v3` have the same fields and more under `data` (sources:
the Character Card V2 and V3 specifications). `card_write.py` writes cards; `png.py`, `photo.py` and
`charx.py` handle the files that contain them.
"""

import binascii
import re
import string
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.options import FIELDS, MAX_CONTEXT, MIN_CONTEXT, OptionError, check_value
from hermes_cli.personas.formats import book, regex_scripts
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.native import MAX_NOTE_DEPTH
from hermes_cli.personas.persona import Note, Persona
from hermes_cli.untrusted import json_parser
from hermes_cli.untrusted.json_parser import JsonLimits
from hermes_cli.untrusted.source import Source
from hermes_cli.untrusted.value import Value

Version = int
"""1, 2 or 3; 0 means that the document is not a card."""
SPECS: Final[Mapping[Version, tuple[str, str]]] = {2: ("chara_card_v2", "2.0"), 3: ("chara_card_v3", "3.0")}
"""The values of `spec` and `spec_version`."""
V1_KEYS: Final = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
OWN: Final = "openhermes"
"""The key in `extensions` for data of hermes that has no other key in a card."""
TEXTS: Final = {
    "character": "description",
    "personality": "personality",
    "scenario": "scenario",
    "dialogue": "mes_example",
    "system": "system_prompt",
    "post_history": "post_history_instructions",
}
"""Maps attributes of a Persona to the keys of a card for the same texts."""
LIMITS: Final = JsonLimits(size=4 << 20, brackets=100_000, commas=250_000)
MAX_ENCODED: Final = LIMITS.size * 4 // 3 + 4
"""The size limit, in bytes, of a card in base64."""
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_MIN_V1_KEYS: Final = 2
"""An object with at least this many V1 keys is read as a card."""
_SPEC: Final = re.compile(r"chara_card_v(\d{1,3})")
_SHOWN: Final = 8
_KNOWN_KEYS: Final = frozenset(
    (
        *V1_KEYS,
        *TEXTS.values(),
        *("nickname", "alternate_greetings", "creator_notes", "creator_notes_multilingual", "character_book"),
        *("extensions", "tags", "creator", "character_version", "source", "creation_date"),
        *("modification_date", "spec", "spec_version", "data", "avatar", "chat", "create_date"),
    )
)
"""The keys that hermes uses, and keys that only describe a card's origin."""
_KNOWN_EXTENSIONS: Final = frozenset(
    ("depth_prompt", "world", regex_scripts.KEY, OWN, "talkativeness", "fav")
)


def parse_json(data: bytes, source: Path) -> Any:
    """Parse a JSON document. Raises PersonaError if it is invalid or exceeds LIMITS."""
    return json_parser.parse(data, Source(str(source), PersonaError), LIMITS)


def parse(data: bytes, source: Path, place: str, hint: str) -> dict[str, Any]:
    """Parse a card in JSON. Raises PersonaError, which names `place`, if the document is not a card."""
    document = parse_json(data, source)
    if not isinstance(document, dict) or not version(document):
        raise PersonaError(f"{source}: its {place} is not a character card", hint)
    return document


def parse_encoded(text: bytes, source: Path, place: str, hint: str) -> dict[str, Any]:
    """Parse a card in base64, also with the URL-safe alphabet, or in JSON. Raises PersonaError as `parse`."""
    if text.lstrip().startswith(b"{"):
        return parse(text, source, place, hint)
    if len(text) > MAX_ENCODED:
        raise PersonaError(f"{source}: its card is larger than {LIMITS.size >> 20} MiB", "shorten its texts")
    padded = text.translate(_URL_SAFE, string.whitespace.encode()).rstrip(b"=")
    try:
        decoded = binascii.a2b_base64(padded + b"=" * (-len(padded) % 4), strict_mode=True)
    except binascii.Error:
        raise PersonaError(f"{source}: its card is not base64", hint) from None
    return parse(decoded, source, place, hint)


def version(document: Mapping[str, Any]) -> Version:
    """Return the version of a card, or 0 if the document is not a card. Versions above 3 are read as 3."""
    spec, data = document.get("spec"), document.get("data")
    if isinstance(spec, str) and (match := _SPEC.fullmatch(spec)):
        return min(max(int(match[1]), 2), 3)
    if isinstance(data, dict):
        return 2 if spec is None and _has_v1_keys(data) else 0
    return 1 if _has_v1_keys(document) else 0


def is_flat(document: Mapping[str, Any]) -> bool:
    """Return whether a card's fields are at the top level, as in V1, and in V3 cards of some programs."""
    return version(document) == 1 or (not isinstance(document.get("data"), dict) and _has_v1_keys(document))


def data_of(document: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Return the object with a card's fields. Raises PersonaError if there is none."""
    if is_flat(document):
        return dict(document)
    data = document.get("data")
    if not isinstance(data, dict):
        raise PersonaError(f"{source} is a card without 'data'", "get the file again")
    return data


def read(document: Mapping[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona in a card. Raises PersonaError if the card is invalid."""
    table = Value(data_of(document, source), remarks)
    _remark_on_version(document, remarks)
    extensions = table.get("extensions").table()
    own = extensions.get(OWN).table()
    name = table.get("name").line()
    if not name:
        remarks.add("it has no name; its file name is used")
    lorebook = book.read(table.get("character_book").table(), source, remarks)
    worlds = (book.text_or_empty(extensions.get("world")), *own.get("worlds").texts())
    texts: dict[str, Any] = {
        attribute: book.text_or_empty(table.get(key)) for attribute, key in TEXTS.items()
    }
    persona = Persona(
        **texts,
        name=name or " ".join(source.stem.split()) or "card",
        source=source,
        description=book.text_or_empty(own.get("description")),
        greetings=tuple(text for text in _greetings(table) if text.strip()),
        note=_note(extensions.get("depth_prompt").table(), remarks),
        user=own.get("user").line() or None,
        creator_notes=_creator_notes(table),
        lorebook=None if lorebook == Lorebook() else lorebook,
        worlds=tuple(dict.fromkeys(name for name in worlds if name.strip())),
        regex=regex_scripts.read(extensions.get(regex_scripts.KEY), remarks),
        context=own.get("context").integer_or_none(MIN_CONTEXT, MAX_CONTEXT),
        options=_options(own.get("options").table().value, remarks),
        nickname=table.get("nickname").line(),
    )
    if not (persona.is_character or persona.system.strip()):
        remarks.add("it does not describe the character")
    _remark_on_unused(table.value, extensions.value, remarks)
    return persona


def _has_v1_keys(table: Mapping[str, Any]) -> bool:
    return sum(key in table for key in V1_KEYS) >= _MIN_V1_KEYS


def _greetings(table: Value) -> tuple[str, ...]:
    alternates = table.get("alternate_greetings")
    # A single string is one greeting, even if it contains commas.
    others = (book.text_or_empty(alternates),) if isinstance(alternates.value, str) else ()
    return (table.get("first_mes").text(), *(others or alternates.texts()))


def _creator_notes(table: Value) -> str:
    return book.text_or_empty(table.get("creator_notes")) or book.text_or_empty(
        table.get("creator_notes_multilingual").table().get("en")
    )


def _note(prompt: Value, remarks: Remarks) -> Note | None:
    text = book.text_or_empty(prompt.get("prompt"))
    if not text:
        return None
    depth = prompt.get("depth").integer(0, book.MAX_NUMBER, Note("").depth)
    if depth > MAX_NOTE_DEPTH:
        remarks.add(f"the depth of its note is {depth:,} turns; the limit is {MAX_NOTE_DEPTH}")
    role = prompt.value.get("role")
    if isinstance(role, str) and role in {"user", "assistant"}:
        remarks.add(f"the role of its note is {role}; hermes sends it as system")
    return Note(text, min(depth, MAX_NOTE_DEPTH))


def _options(table: Mapping[str, Any], remarks: Remarks) -> Mapping[str, Any]:
    options = dict[str, Any]()
    for name, value in table.items():
        if name not in FIELDS:  # a suggestion for each of 100,000 names would take seconds
            remarks.add(f"the option '{name[:60]}' is left out: hermes has no such option")
            continue
        try:
            options[name] = check_value(name, value)
        except OptionError as error:
            remarks.add(f"{error}; it is left out")
    return MappingProxyType(options)


def _remark_on_version(document: Mapping[str, Any], remarks: Remarks) -> None:
    spec, spec_version = document.get("spec"), document.get("spec_version")
    if spec is None:
        if version(document) > 1:
            remarks.add(f"it has no 'spec'; it is read as {SPECS[2][0]}")
        return
    known, newest = SPECS.get(version(document), ("a V1 card", "1.0"))
    if spec != known:
        shown = f"is '{spec[:30]}'" if isinstance(spec, str) else "is not a string"
        remarks.add(f"its spec {shown}, which hermes does not support; it is read as {known}")
    elif isinstance(spec_version, str) and _number(spec_version) > float(newest):
        remarks.add(f"its spec_version {spec_version[:30]} is newer than {newest}, which hermes supports")
    if version(document) > 1 and is_flat(document):
        remarks.add("its fields are not under 'data', as its spec requires")


def _number(text: str) -> float:
    try:
        return float(text[:30])
    except ValueError:
        return 0.0


def _remark_on_unused(table: Mapping[str, Any], extensions: Mapping[str, Any], remarks: Remarks) -> None:
    keys = [key for key, value in table.items() if key not in _KNOWN_KEYS and value]
    keys += [
        f"extensions.{key}" for key, value in extensions.items() if key not in _KNOWN_EXTENSIONS and value
    ]
    if keys:
        rest = f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else ""
        remarks.add(f"kept but not used: {', '.join(key[:30] for key in keys[:_SHOWN])}{rest}")
