"""The formats of other programs' persona files: one place that tells them apart, reads them and writes them.

It knows by what a file is recognised: by its content, never by its name. How a format spells a persona stands
in the format's own file, which is loaded when a file of that format comes.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import (
    card,
    card_write,
    charx,
    invisible,
    pictures,
    png,
    strict_json,
    world,
)
from hermes_cli.personas.formats.found import Found, Remarks
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.persona import Persona

__all__ = ["MAX_BYTES", "WRITABLE", "Found", "read", "recognise", "write"]

WRITABLE: Final = ("v1", "v2", "v3", "png", "charx", "modelfile")
MAX_BYTES: Final = 20 << 20
_VERSIONS: Final = {"v1": 1, "v2": 2, "v3": 3}
_V1_SIGN: Final = "first_mes"
_NOBODY: Final = Path("file")
_FORMATS: Final = (
    "hermes reads character cards (PNG, JSON, CHARX), SillyTavern's worlds, Modelfiles, aichat's roles, "
    "llm's templates, text-generation-webui's characters and LM Studio's presets"
)


@dataclass(frozen=True, slots=True)
class _Known:
    """A file whose format is known: its kind, and what parsing it gave, where that was needed to know it."""

    kind: str
    parsed: Any = None


def recognise(data: bytes) -> str:
    """Return the kind of a file by its content, or nothing where hermes knows no such format."""
    try:
        return _known(data, _NOBODY).kind
    except PersonaError:
        return ""


def read(data: bytes, source: Path) -> Found:
    """Return what is in a file. `source` is named in errors, and gives a name to what has none.

    Raises PersonaError for a format that hermes does not know, and for whatever is wrong in one it knows.
    """
    remarks = Remarks()
    known = _known(data, source)
    if not known.kind:
        raise PersonaError(f"{source} is in no format that hermes knows", _FORMATS)
    of = _persona_or_book(known, data, source, remarks)
    unseen, direction = invisible.count(_texts(of))
    if unseen or direction:
        remarks.add(f"its texts hold {unseen:,} invisible and {direction:,} direction-changing characters")
    if isinstance(of, Lorebook):
        return Found(known.kind, None, of, remarks.told())
    persona = replace(of, source=source, original=source, kind=known.kind)
    return Found(known.kind, persona, None, remarks.told())


def write(persona: Persona, kind: str, original: bytes | None) -> bytes:
    """Return a persona as a file of a kind in WRITABLE.

    `original` is the file it was read from, of whatever kind: what hermes does not know in it stays. Raises
    PersonaError where that file cannot be read, or the format cannot hold the persona.
    """
    source = persona.original or persona.source
    known = _known(original, source) if original is not None else _Known("")
    if kind == "modelfile":
        from hermes_cli.personas.formats import modelfile  # noqa: PLC0415 - loaded when one is written

        text = known.parsed if known.kind == kind else None
        return modelfile.write(persona, text).encode()
    if kind not in WRITABLE:
        raise PersonaError(f"there is no format '{kind}' to write", f"there are {', '.join(WRITABLE)}")
    if original is not None and known.kind == kind:
        made = _changed(persona, known, original, source)
    else:
        document = _document(known, original, source)
        made = _made(persona, kind, document, pictures.of(known.kind, original or b"", document))
    if len(made) > MAX_BYTES:
        raise PersonaError(f"{source}: as a {kind} it is larger than {MAX_BYTES >> 20} MiB", "take texts out")
    return made


def _known(data: bytes, source: Path) -> _Known:
    """Return the kind of a file, and nothing where there is none. Raises PersonaError for what is damaged."""
    if len(data) > MAX_BYTES:
        raise PersonaError(f"{source} is larger than {MAX_BYTES >> 20} MiB", "no character needs so much")
    if data.startswith(png.SIGNATURE):
        return _Known("png")
    if data.startswith(charx.SIGNATURES):
        return _Known("charx")
    if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _known_json(strict_json.parse(data, source))
    return _known_text(data, source)


def _known_json(document: Any) -> _Known:
    from hermes_cli.personas.formats import lmstudio, webui  # noqa: PLC0415 - cards never need them

    if not isinstance(document, dict):
        return _Known("")
    version = card.version(document)
    if version > 1:
        kind = f"v{version}"
    elif version and _V1_SIGN in document:  # whatever else: some programs write several formats in one
        kind = "v1"
    elif lmstudio.is_one(document):
        kind = "lmstudio"
    elif webui.is_one(document):
        kind = "webui"
    elif world.is_one(document):
        kind = "world"
    else:
        kind = "v1" if version else ""
    return _Known(kind, document)


def _known_text(data: bytes, source: Path) -> _Known:
    from hermes_cli.personas.formats import aichat, llm_template, modelfile, strict_yaml, webui  # noqa: PLC0415

    if len(data) > strict_json.MAX_BYTES:
        return _Known("")
    text = strict_json.decode(data, source)
    if aichat.is_one(text):
        return _Known("aichat", text)
    if modelfile.is_one(text):
        return _Known("modelfile", text)
    document = strict_yaml.parse(data, source)
    if not isinstance(document, dict):
        return _Known("")
    if webui.is_one(document):
        return _Known("webui", document)
    return _Known("llm" if llm_template.is_one(document) else "", document)


def _persona_or_book(known: _Known, data: bytes, source: Path, remarks: Remarks) -> Persona | Lorebook:
    if known.kind == "world":
        return world.read(known.parsed, source, remarks)
    document = _document(known, data, source)
    if document is not None:
        return card.read(document, source, remarks)
    from hermes_cli.personas.formats import aichat, llm_template, lmstudio, modelfile, webui  # noqa: PLC0415

    readers: dict[str, Callable[[Any, Path, Remarks], Persona]] = {
        "modelfile": modelfile.read,
        "aichat": aichat.read,
        "llm": llm_template.read,
        "webui": webui.read,
        "lmstudio": lmstudio.read,
    }
    return readers[known.kind](known.parsed, source, remarks)


def _document(known: _Known, data: bytes | None, source: Path) -> dict[str, Any] | None:
    """Return the card in a file, or None where it holds none. Raises PersonaError for a damaged one."""
    if known.kind == "png":
        return png.read(data or b"", source)[0].document
    if known.kind == "charx":
        return charx.read(data or b"", source)
    if known.kind in _VERSIONS:
        return dict(known.parsed)
    return None


def _changed(persona: Persona, known: _Known, original: bytes, source: Path) -> bytes:
    """Return a card's own file with what was changed in it; where nothing was, as it is."""
    if known.kind == "png":
        cards = png.read(original, source)
        old = card.read(cards[0].document, source, Remarks())
        texts = dict[str, bytes]()
        for one in cards:
            document = card_write.laid_over(one.document, old, persona)
            if document != one.document:
                texts[one.keyword] = card_write.text(document, source, short=True)
        return png.replaced(original, texts, source) if texts else original
    before = _document(known, original, source) or {}
    document = card_write.laid_over(before, card.read(before, source, Remarks()), persona)
    if document == before:
        return original
    text = card_write.text(document, source)
    return charx.replaced(original, text, source) if known.kind == "charx" else text


def _made(persona: Persona, kind: str, document: dict[str, Any] | None, picture: bytes) -> bytes:
    """Return a file of a kind that the original, if there is one, is not of."""
    source = persona.original or persona.source
    if kind in _VERSIONS:
        return card_write.text(card_write.written(document, persona, _VERSIONS[kind]), source)
    newest = card_write.written(document, persona, 3)
    if picture:
        newest = pictures.named(newest, is_inside=kind == "charx")
    if kind == "charx":
        members = {pictures.MEMBER: picture} if picture else {}
        return charx.made(card_write.text(newest, source), members)
    documents = {"chara": card_write.written(document, persona, 2), "ccv3": newest}
    texts = {key: card_write.text(one, source, short=True) for key, one in documents.items()}
    return png.replaced(picture or png.blank(), texts, source)


def _texts(of: Any) -> list[str]:
    """Return all texts in a persona or a lorebook, however deep."""
    found, left = list[str](), [of]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, tuple):
            left += one
        elif hasattr(one, "__dataclass_fields__"):
            left += [getattr(one, field.name) for field in fields(one)]
    return found
