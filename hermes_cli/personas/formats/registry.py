"""Recognizes, reads and writes the persona files of other programs.

A format is recognized by the content of a file, never by its name. The module of a rare format is imported
only if a file may be in that format.
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
    hidden_characters,
    pictures,
    png,
    strict_json,
    world,
)
from hermes_cli.personas.formats.import_result import Found, Remarks
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
    """The kind of a file, and the parsed content if it was parsed to recognize the kind."""

    kind: str
    parsed: Any = None


def recognise(data: bytes) -> str:
    """Return the kind of a file by its content, or an empty text if the format is unknown."""
    try:
        return _known(data, _NOBODY).kind
    except PersonaError:
        return ""


def read(data: bytes, source: Path) -> Found:
    """Read a file. `source` is named in errors, and names a persona that has no name.

    Raises PersonaError if the format is unknown or the file is invalid.
    """
    remarks = Remarks()
    known = _known(data, source)
    if not known.kind:
        raise PersonaError(f"{source} is in no format that hermes knows", _FORMATS)
    of = _persona_or_book(known, data, source, remarks)
    unseen, direction = hidden_characters.count(_texts(of))
    if unseen or direction:
        remarks.add(f"its texts hold {unseen:,} invisible and {direction:,} direction-changing characters")
    if isinstance(of, Lorebook):
        return Found(known.kind, None, of, remarks.told())
    persona = replace(of, source=source, original=source, kind=known.kind)
    return Found(known.kind, persona, None, remarks.told())


def write(persona: Persona, kind: str, original: bytes | None) -> bytes:
    """Return a persona as a file of a kind in WRITABLE.

    `original` is the content of the file that it was imported from, of any kind. Its unknown keys are
    preserved. Raises PersonaError if that file cannot be read, or if the format cannot represent the persona.
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
    """Return the kind of a file, empty if it is unknown. Raises PersonaError if the file is damaged."""
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
    elif version and _V1_SIGN in document:  # first, as some files mix formats
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
    """Return the card in a file, or None if it has none. Raises PersonaError if the card is damaged."""
    if known.kind == "png":
        return png.read(data or b"", source)[0].document
    if known.kind == "charx":
        return charx.read(data or b"", source)
    if known.kind in _VERSIONS:
        return dict(known.parsed)
    return None


def _changed(persona: Persona, known: _Known, original: bytes, source: Path) -> bytes:
    """Return the original file with the changes applied, or unchanged if there are none."""
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
    """Return a new file of a kind other than the original's, with the original's image if it has one."""
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
    """Return all strings in a persona or a lorebook, at any depth."""
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
