"""Cards as other programs write them, and helpers for the files that hold them."""

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import registry
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.persona import Persona

CARD = Path("card.file")
V1: dict[str, Any] = {
    "name": "Ada",
    "description": "{{char}} is a mathematician.",
    "personality": "exact",
    "scenario": "London, 1843.",
    "first_mes": "*looks up* Yes, {{user}}?",
    "mes_example": "<START>\n{{user}}: Hi\n{{char}}: Hello.",
}
BOOK: dict[str, Any] = {
    "name": "Engines",
    "description": "What {{char}} knows",
    "scan_depth": 3,
    "token_budget": 500,
    "recursive_scanning": True,
    "extensions": {"theirs": 1},
    "entries": [
        {
            "keys": ["engine", "/analy\\w+/i"],
            "secondary_keys": ["Babbage"],
            "selective": True,
            "content": "The engine weaves algebra.",
            "extensions": {
                "position": 4,
                "depth": 2,
                "selectiveLogic": 3,
                "probability": 40,
                "useProbability": True,
                "sticky": 2,
                "cooldown": 3,
                "delay": 1,
                "exclude_recursion": True,
                "prevent_recursion": True,
                "delay_until_recursion": True,
                "scan_depth": 7,
                "match_whole_words": True,
                "case_sensitive": True,
                "theirs": {"deep": None},
            },
            "enabled": True,
            "insertion_order": 5,
            "case_sensitive": True,
            "name": "The engine",
            "priority": 9,
            "id": 0,
            "comment": "",
            "constant": True,
            "position": "after_char",
            "use_regex": True,
        },
        {
            "keys": ["tea"],
            "content": "She takes it black.",
            "extensions": {},
            "enabled": False,
            "insertion_order": 1,
            "position": "before_char",
            "id": 1,
        },
    ],
}
V2: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        **V1,
        "creator_notes": "Best with patience.",
        "system_prompt": "{{original}} Be brief.",
        "post_history_instructions": "Stay in 1843.",
        "alternate_greetings": ["Good evening.", "Who sent you?"],
        "tags": ["history"],
        "creator": "somebody",
        "character_version": "1.2",
        "character_book": BOOK,
        "extensions": {
            "world": "Victorian London",
            "depth_prompt": {"prompt": "She is tired.", "depth": 2, "role": "system"},
            "theirs": {"kept": [1, 2.5, None]},
        },
    },
}
V3: dict[str, Any] = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {
        **V2["data"],
        "nickname": "Countess",
        "group_only_greetings": [],
        "creator_notes_multilingual": {"en": "Best with patience.", "de": "Mit Geduld."},
        "source": ["somewhere"],
        "creation_date": 1700000000,
        "assets": [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}],
    },
}
VERSIONS = {"v1": V1, "v2": V2, "v3": V3}


def to_json(document: Any) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document).encode()


def to_base64(document: Any) -> bytes:
    """Return a document as base64 of JSON."""
    return base64.b64encode(to_json(document))


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture(*chunks: bytes) -> bytes:
    """Return a PNG of one pixel with further chunks before its end."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + head + body + b"".join(chunks) + chunk(b"IEND", b"")


def card_chunk(keyword: str, document: Any) -> bytes:
    """Return the text chunk that holds a card."""
    return chunk(b"tEXt", keyword.encode() + b"\0" + to_base64(document))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the types and contents of a PNG's chunks."""
    result, position = list[tuple[bytes, bytes]](), 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        result.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return result


def cards_in_png(data: bytes) -> dict[str, Any]:
    """Return the cards in a PNG by their keywords."""
    texts = [content.split(b"\0", 1) for kind, content in chunks(data) if kind == b"tEXt"]
    return {key.decode(): json.loads(base64.b64decode(value)) for key, value in texts}


def exif(comment: bytes, order: str = "<", *, in_main: bool = False) -> bytes:
    """Return Exif data whose UserComment is `comment`, in the Exif or the main directory."""
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}2sHI", mark, 42, 8)
    if in_main:
        return head + struct.pack(f"{order}HHHIII", 1, 0x9286, 7, len(comment), 26, 0) + comment
    main = struct.pack(f"{order}HHHIII", 1, 0x8769, 4, 1, 26, 0)
    return head + main + struct.pack(f"{order}HHHIII", 1, 0x9286, 7, len(comment), 44, 0) + comment


def webp(*blocks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP file with these chunks after the first one."""
    body = b"WEBP"
    for kind, content in ((b"VP8 ", b"pixels "), *blocks):
        body += struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def jpeg(*segments: bytes) -> bytes:
    """Return a JPEG file with these APP1 segments before the pixels."""
    parts = [b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content for content in segments]
    return b"\xff\xd8\xff\xe0\0\4JF" + b"".join(parts) + b"\xff\xda\0\2pixels\xff\xd9"


def archive(members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as zip_file:
        for name, content in members:
            zip_file.writestr(name, content)
    return out.getvalue()


def unzip(data: bytes) -> dict[str, bytes]:
    """Return the members of a zip archive, after checking their checksums."""
    with zipfile.ZipFile(io.BytesIO(data)) as zip_file:
        assert zip_file.testzip() is None
        return {name: zip_file.read(name) for name in zip_file.namelist()}


def read_persona(data: bytes) -> Persona:
    """Return the persona in a file."""
    persona = registry.read(data, CARD).persona
    assert persona is not None
    return persona


def remarks(document: Any) -> str:
    """Return the remarks on a document."""
    return "; ".join(registry.read(to_json(document), CARD).remarks)


def error_text(data: bytes) -> str:
    """Return the message for a file that cannot be used."""
    with pytest.raises(PersonaError) as caught:
        registry.read(data, CARD)
    assert str(CARD) in caught.value.message
    return caught.value.message


def v2(**data: Any) -> dict[str, Any]:
    """Return the V2 card with some of its fields changed."""
    return {**V2, "data": {**V2["data"], **data}}


def entry(**fields: Any) -> LoreEntry:
    """Return the only entry of a card's book, made from these fields."""
    raw = {"keys": ["key"], "content": "text", "extensions": {}, "enabled": True, "insertion_order": 1}
    book = read_persona(to_json(v2(character_book={"entries": [raw | fields], "extensions": {}}))).lorebook
    assert book is not None
    (only_entry,) = book.entries
    return only_entry
