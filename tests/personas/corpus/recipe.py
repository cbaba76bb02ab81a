"""One file of the corpus, and helpers to write it."""

import json
from dataclasses import dataclass
from typing import Any

from tests.personas.formats.cards import V1

VERSIONS = {2: ("chara_card_v2", "2.0"), 3: ("chara_card_v3", "3.0")}


@dataclass(frozen=True)
class File:
    """A file: its name and content, what it contains, and the remarks that its import must make.

    `kind` is the format as hermes names it, `greetings` and `entries` are counts, and `has` are texts that
    the persona or the lorebook must contain.
    """

    name: str
    data: bytes
    kind: str
    called: str
    remarks: tuple[str, ...] = ()
    greetings: int = 1
    entries: int = 0
    has: tuple[str, ...] = ()


def to_json(document: Any, *, indent: int | None = None, ascii_only: bool = False) -> bytes:
    """Return a document as JSON in UTF-8."""
    return json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()


def card(version: int = 2, **data: Any) -> dict[str, Any]:
    """Return a V2 or V3 card with the V1 fields, changed by `data`."""
    spec, spec_version = VERSIONS[version]
    required = {"creator_notes": "", "system_prompt": "", "post_history_instructions": "", "tags": []}
    more = {"alternate_greetings": [], "creator": "", "character_version": "", "extensions": {}}
    return {"spec": spec, "spec_version": spec_version, "data": {**V1, **required, **more, **data}}


def book(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a card's lorebook. Each entry gets the fields that the specification requires."""
    required = {"keys": ["tea"], "content": "Black.", "extensions": {}, "enabled": True, "insertion_order": 1}
    return {"extensions": {}, "entries": [required | entry for entry in entries], **fields}


def with_entry(**fields: Any) -> dict[str, Any]:
    """Return a V2 card whose lorebook has one entry."""
    return card(character_book=book(fields))


def with_extensions(**extensions: Any) -> dict[str, Any]:
    """Return a V2 card whose lorebook has one entry with these extensions."""
    return with_entry(extensions=extensions)
