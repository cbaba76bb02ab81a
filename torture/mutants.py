"""Damaged persona files, any number of them, each made from a seed, randomly and specific to its format.

Bytes are flipped, cut, doubled and spliced; JSON values are replaced, with checksums corrected so that the
values are parsed; and some files are as large, as deeply nested or as highly compressed as allowed.
"""

import base64
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import book, decorators, png, registry
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Note, Persona

RARE: Final = 200
"""One mutant in this many is a large one."""
_HOSTILE: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 2.5, 1e300, 10**99, "", " ", "\0", "\u202e\u200b", "@@depth 2\n@@@x\ny"),
    *([], {}, [[]], [None], {"": None}, "x" * 20_000, "/(a+)+$/", "4", "NaN", "<|im_end|>", "{{char}}"),
    *("\ud800", [0] * 500, {str(n): n for n in range(200)}, "\U0001f600" * 3_000, "\r\n---\r\n"),
    *("${x}", "../../x", "&a *a"),
)
_KEYS: Final = (
    *("name", "description", "first_mes", "alternate_greetings", "mes_example", "character_book", "entries"),
    *("keys", "content", "extensions", "depth_prompt", "depth", "position", "spec", "spec_version", "data"),
    *("key", "keysecondary", "disable", "openhermes", "options", "operation", "fields", "char_name", "role"),
)
_PERSONA: Final = Persona(
    name="Ada",
    system="{{original}} Be brief.",
    source=Path("ada.json"),
    nickname="Countess",
    character="{{char}} is a mathematician. \u201c\U0001f9ee\u201d",
    personality="exact",
    scenario="London, 1843.",
    greetings=("*looks up* Yes?", "Good evening."),
    dialogue="<START>\n{{user}}: Hi\n{{char}}: Hello.",
    post_history="Stay in 1843.",
    note=Note("She is tired.", 2),
    creator_notes="Best with patience.",
    lorebook=Lorebook(
        entries=(
            LoreEntry(
                "The engine weaves.", ("engine", "/analy\\w+/i"), "E", secondary=("x",), logic=Logic.NOT_ALL
            ),
            LoreEntry("Tea.", ("tea",), position=Position.DEPTH, depth=2, sticky=3, probability=40),
        ),
        name="Engines",
        scan_depth=3,
    ),
    worlds=("London",),
)
_WORLD: Final = {
    "entries": {
        "0": {"uid": 0, "key": ["a"], "keysecondary": ["b"], "content": "c", "order": 1, "position": 4}
    }
}
_PRESET: Final = {"operation": {"fields": [{"key": "llm.prediction.systemPrompt", "value": "Be Ada."}]}}
_MEMORY: Final = {"kind": "memory", "entries": [{"name": "a", "entry": "b", "keywords": ["c"], "weight": 1}]}
_OTHERS: Final[dict[str, Any]] = {
    "memory": _MEMORY,
    "risuai": {"type": "risu", "ver": 1, "data": [{"key": "a, b", "content": "c", "secondkey": "d"}]},
    "novelai": {"lorebookVersion": 5, "entries": [{"text": "a", "keys": ["b"], "contextConfig": {}}]},
    "agnai": {
        "kind": "character",
        "name": "Ada",
        "greeting": "Yes?",
        "persona": {"kind": "wpp", "attributes": {"mind": ["exact"]}},
        "characterBook": _MEMORY,
    },
}
_TEXTS: Final = {
    "modelfile": b'FROM x\nSYSTEM """You are\nAda."""\nPARAMETER stop "a"\nMESSAGE user hi\n',
    "aichat": b"---\nmodel: x\ntemperature: 0.5\n---\nYou are Ada.\n### INPUT:\na\n### OUTPUT:\nb\n",
    "llm": b"system: You are Ada.\nprompt: 'Say $input'\noptions:\n  temperature: 0.5\n",
    "webui": b"name: Ada\ngreeting: |-\n  Hello.\ncontext: A mathematician.\nexample_dialogue: 'x'\n",
}


def _exif(comment: bytes) -> bytes:
    """Return Exif data with a UserComment in its main directory."""
    return b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x9286, 7, len(comment), 26, 0) + comment


def _webp(exif: bytes, more: bytes = b"") -> bytes:
    body = b"WEBP" + more + b"EXIF" + struct.pack("<I", len(exif)) + exif
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg(*segments: bytes) -> bytes:
    parts = [b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content for content in segments]
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xda"


SAMPLES: Final[dict[str, bytes]] = {
    **{kind: registry.write(_PERSONA, kind, None) for kind in ("v1", "v2", "v3", "png", "charx")},
    "webp": _webp(_exif(base64.b64encode(registry.write(_PERSONA, "v2", None)))),
    "jpeg": _jpeg(b"Exif\0\0" + _exif(registry.write(_PERSONA, "v1", None))),
    "world": json.dumps(_WORLD).encode(),
    "lmstudio": json.dumps(_PRESET).encode(),
    **{name: json.dumps(document).encode() for name, document in _OTHERS.items()},
    **_TEXTS,
}
_DOCUMENTS: Final = {
    kind: json.loads(SAMPLES[kind]) for kind in ("v1", "v2", "v3", "world", "lmstudio", *_OTHERS)
}


def mutant(seed: int, number: int) -> tuple[str, bytes]:
    """Return a description of the file's kind and damage, and the file."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311 - reproducible, not secret
    if number % RARE == RARE - 1:
        name = list(LARGE)[number // RARE % len(LARGE)]
        return name, LARGE[name](chance)
    kind = chance.choice(list(SAMPLES))
    ways: list[Callable[[random.Random, str], bytes]] = [_bytes, _bytes]
    if kind in _DOCUMENTS or kind in _WITH_CARD:
        ways += [_values] * 4
    way = chance.choice(ways)
    return f"{kind}{way.__name__}", way(chance, kind)[: registry.MAX_BYTES]


def _bytes(chance: random.Random, kind: str) -> bytes:
    """Return a file with some bytes changed, removed, repeated, or copied from another file."""
    data = bytearray(SAMPLES[kind])
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 1, 1, 4, 40, 400)))
        other = SAMPLES[chance.choice(list(SAMPLES))]
        at = chance.randrange(len(other))
        data[start:end] = chance.choice(
            (b"", chance.randbytes(end - start), data[start:end] * 3, other[at : at + chance.randrange(99)])
        )
    return bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 1 / 8 else data)


def _values(chance: random.Random, kind: str) -> bytes:
    """Return a file whose JSON has other values, and whose checksums are correct."""
    start = _DOCUMENTS.get(kind) or _DOCUMENTS["v3"]
    document = json.loads(json.dumps(start))
    for _ in range(chance.choice((1, 1, 2, 4))):
        document = _changed(chance, document)
    text = json.dumps(document, ensure_ascii=chance.random() < 1 / 2).encode("utf-8", "surrogatepass")
    return _WITH_CARD[kind](chance, text) if kind in _WITH_CARD else text


def _changed(chance: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and chance.random() < 5 / 6:
        key = chance.choice(list(value))
        return value | {key: _changed(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 5 / 6:
        at = chance.randrange(len(value))
        return [*value[:at], _changed(chance, value[at]), *value[at + 1 :]]
    hostile = chance.choice(_HOSTILE)
    if isinstance(value, dict) and chance.random() < 1 / 2:
        return value | {chance.choice(_KEYS): hostile}
    return chance.choice((hostile, hostile, [value] * chance.choice((2, 50)), {"a": value}))


def _chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return struct.pack(">I", size) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _picture(chance: random.Random, text: bytes) -> bytes:
    """Return a picture with a character card in one of three kinds of text chunk, between random chunks."""
    spelled = base64.b64encode(text)
    key = chance.choice((b"chara", b"ccv3", b"CHARA"))
    chunks = [
        _chunk(b"tEXt", key + b"\0" + spelled),
        _chunk(b"zTXt", key + b"\0\0" + zlib.compress(spelled)),
        _chunk(b"iTXt", key + b"\0\1\0en\0\0" + zlib.compress(spelled)),
        _chunk(b"tEXt", key + b"\0" + text),
        _chunk(b"tEXt", key),
        _chunk(b"zTXt", key + b"\0\0" + chance.randbytes(20)),
        _chunk(b"prVt", chance.randbytes(9), chance.choice((0, 9, 2**31, 2**32 - 1))),
    ]
    weights = (30, 10, 10, 5, 2, 2, 1)
    return _before_end(b"".join(chance.choices(chunks, weights, k=chance.choice((1, 1, 2, 4)))))


def _before_end(chunks: bytes, picture: bytes = png.blank()) -> bytes:
    return picture[:-12] + chunks + picture[-12:]


def _archive(chance: random.Random, text: bytes) -> bytes:
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    names = ("/etc/x", "../../x", "a\\..\\x", "icon.png")[: chance.randrange(5)]
    data = bytearray(_zipped(method, {**{name: chance.randbytes(50) for name in names}, "card.json": text}))
    if chance.random() < 1 / 2:  # in the central directory, which has every offset and size
        at = data.find(b"PK\x01\x02")
        data[chance.randrange(at, len(data))] = chance.randrange(256)
    return bytes(data)


def _zipped(method: int, members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def _card(**data: Any) -> bytes:
    fields = {"name": "A", "first_mes": "x", **data}
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": fields}
    return json.dumps(document, ensure_ascii=False).encode()


def _entries(count: int, **fields: Any) -> dict[str, Any]:
    return {"entries": [{"keys": [f"key {n}"], "content": "x" * 90, **fields} for n in range(count)]}


def _photo(chance: random.Random, text: bytes) -> bytes:
    """Return a WebP or JPEG file with a character card in one of several forms."""
    encoded = chance.choice((base64.b64encode, base64.urlsafe_b64encode))(text)
    comment = chance.choice((text, encoded, b"UNICODE\0" + encoded.decode().encode("utf-16-le")))
    xmp = b'<x st:chara="' + encoded + b'"/>'
    exif = _exif(comment)
    segments = (b"Exif\0\0" + exif, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
    files = [_webp(exif), _webp(b"", b"XMP " + struct.pack("<I", len(xmp)) + xmp)]
    files += [_jpeg(segment[:65_000]) for segment in segments]
    return chance.choice(files)


_WITH_CARD: Final[dict[str, Callable[[random.Random, bytes], bytes]]] = {
    "png": _picture,
    "charx": _archive,
    "webp": _photo,
    "jpeg": _photo,
}
"""The files that contain a V3 card as JSON."""
_INFLATES: Final = 64 << 20
SILLYTAVERN_ENTRY: Final = {
    "keysecondary": ["x"],
    "comment": "A title",
    "content": "Dragons sleep. " * 14,
    "selective": True,
    "constant": False,
    "vectorized": False,
    "selectiveLogic": 0,
    "addMemo": True,
    "order": 100,
    "position": 0,
    "disable": False,
    "excludeRecursion": False,
    "preventRecursion": False,
    "delayUntilRecursion": False,
    "probability": 100,
    "useProbability": True,
    "depth": 4,
    "group": "",
    "groupOverride": False,
    "groupWeight": 100,
    "scanDepth": 4,
    "caseSensitive": False,
    "matchWholeWords": False,
    "role": 0,
    "useGroupScoring": False,
    "automationId": "",
    "sticky": 0,
    "cooldown": 0,
    "delay": 0,
    "displayIndex": 0,
    "matchPersonaDescription": False,
    "matchScenario": False,
    "ignoreBudget": False,
    "triggers": [],
}
"""An entry with all fields that SillyTavern writes."""
_DECORATORS: Final = "".join(f"@@x{n}\n" for n in range(decorators.MOST)) + "@@x\n" * 90
_WRONG_FIELDS: Final = {
    key: "x" for key, _ in (*book.EXTENSION_FIELDS.values(), *book.OWN_FIELDS.values())
} | {"role": [], "depth": {}, "position": "x", "probability": "x", "selectiveLogic": 9, "group": "x"}
"""Fields of an entry with values of other types, each of which causes a remark."""
LARGE: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "one long text": lambda _chance: _card(description="x" * 4_100_000),
    "one long wide text": lambda _chance: _card(description="\U0001f600" + "x" * 4_100_000),
    "nothing but emoji": lambda _chance: _card(description="\U0001f600" * 1_000_000),
    "all invisible": lambda _chance: _card(description="\u200d" * 1_300_000),
    "many entries": lambda _chance: _card(character_book=_entries(book.MAX_ENTRIES)),
    "many decorators": lambda _chance: _card(character_book=_entries(100, content="@@depth x\n" * 3_000)),
    "an entry of decorators": lambda _chance: _card(character_book=_entries(1, content="@@\n" * 990_000)),
    "entries of decorators": lambda _chance: _card(
        character_book=_entries(book.MAX_ENTRIES, content=_DECORATORS)
    ),
    "entries of wrong fields": lambda _chance: _card(
        character_book=_entries(book.MAX_ENTRIES, extensions=_WRONG_FIELDS)
    ),
    "a full world": lambda _chance: json.dumps(
        {"entries": {n: {**SILLYTAVERN_ENTRY, "key": [f"key {n}", "b"]} for n in range(book.MAX_ENTRIES)}}
    ).encode(),
    "many entries of another program": lambda _chance: json.dumps(
        {"type": "risu", "data": [{"key": "a"}] * 99_000}
    ).encode(),
    "a pattern": lambda _chance: _card(character_book=_entries(1, keys=["/" * 3_900_000], use_regex=True)),
    "a name of words": lambda _chance: _card(name="ab " * 1_300_000, nickname="x"),
    "many keys in an entry": lambda _chance: _card(character_book=_entries(1, keys=["x"] * 240_000)),
    "many greetings": lambda _chance: _card(alternate_greetings=["x"] * 240_000),
    "many keys": lambda _chance: _card(**{f"{n}": n for n in range(200_000)}),
    "many empty lists": lambda _chance: _card(theirs=[[]] * 99_000),
    "deep": lambda chance: b'{"data":' + b"[" * chance.choice((98, 101, 90_000)),
    "deep and closed": lambda chance: b'{"a":' * (n := chance.choice((99, 5_000))) + b"1" + b"}" * n,
    "digits": lambda _chance: b'{"name":' + b"9" * 4_000_000 + b"}",
    "slashes": lambda _chance: _card(description="\\" * 2_000_000),
    "a picture of 20 MB": lambda _chance: _before_end(_chunk(b"IDAT", b"x" * 20_000_000), SAMPLES["png"]),
    "a picture of chunks": lambda _chance: _before_end(_chunk(b"prVt", b"") * 1_700_000),
    "a picture that inflates": lambda _chance: _before_end(
        _chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"A" * _INFLATES, 9))
    ),
    "an archive of members": lambda _chance: b"PK\x03\x04" + b"PK\x01\x02" * 5_000_000,
    "an archive that inflates": lambda _chance: _zipped(
        zipfile.ZIP_DEFLATED, {"card.json": b" " * _INFLATES}
    ),
    "a photo of chunks": lambda _chance: _webp(b"", b"ABCD\0\0\0\0" * 2_400_000),
    "a photo of segments": lambda _chance: b"\xff\xd8" + b"\xff\xe1\0\2" * 4_900_000,
    "a photo of fill bytes": lambda _chance: b"\xff\xd8" + b"\xff" * 19_000_000,
    "a photo with a long comment": lambda _chance: _webp(_exif(b"e" * 19_000_000)),
    "a photo with a wide comment": lambda _chance: _webp(
        _exif(b"UNICODE\0" + "e\U0001f600".encode("utf-16-le") * 900_000)
    ),
    "a photo with numbers": lambda _chance: _webp(_exif(b"7," * 2_700_000)),
    "a photo with fewer numbers": lambda _chance: _webp(_exif(b"7," * 500_000)),
    "a photo of properties": lambda _chance: _webp(
        b"", b"XMP " + struct.pack("<I", 5_500_000) + b"chara>" * 916_667
    ),
    "a photo of spaces": lambda _chance: _webp(
        b"", b"XMP " + struct.pack("<I", 5_500_000) + b"chara=' " + b" " * 5_499_992
    ),
    "a photo with a full card": lambda _chance: _webp(
        _exif(base64.b64encode(_card(description="x" * 4_100_000)))
    ),
    "yaml that is deep": lambda chance: b"name: " + b"[" * chance.choice((99, 100_000)),
    "yaml of aliases": lambda _chance: b"a: &a [x]\n" + b"".join(b"b%d: [*a,*a]\n" % n for n in range(999)),
    "yaml of many keys": lambda _chance: b"name: A\n" + b"".join(b"k%d: v\n" % n for n in range(300_000)),
    "a long modelfile": lambda _chance: b"FROM x\n" + b"PARAMETER stop a\n" * 200_000,
    "an open modelfile": lambda _chance: b'FROM x\nSYSTEM """' + b'"" ' * 1_200_000,
    "a long role": lambda _chance: b"---\nmodel: x\n---\n" + b"### INPUT:\na\n### OUTPUT:\nb\n" * 150_000,
    "blank lines": lambda _chance: b"\n" * 4_000_000,
    "dashes": lambda _chance: b"---\n" * 1_000_000,
}
