"""Recognizes, reads and writes the persona files of other programs.

A format is recognized by the content of a file. A `.txt` or `.md` file in no other format is a system prompt.
The module of a rare format is imported
only if a file might be in that format.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from hermes_cli.errors import PersonaError
from hermes_cli.personas import template
from hermes_cli.personas.formats import (
    card,
    card_write,
    charx,
    hidden_characters,
    photo,
    plain_text,
    png,
    regex_scripts,
    world,
)
from hermes_cli.personas.formats.import_result import PRESET, REGEX, ImportResult, Remarks
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.macros import unknown_macros
from hermes_cli.personas.persona import TEXT_SUFFIXES, Persona
from hermes_cli.personas.regex_script import MATCH, RegexScript
from hermes_cli.personas.template import without_prompt
from hermes_cli.untrusted import yaml_parser
from hermes_cli.untrusted.source import BOM, Source, check_size, decode

WRITABLE: Final = ("v1", "v2", "v3", "png", "charx", "modelfile")
MAX_BYTES: Final = 20 << 20
_VERSIONS: Final = {"v1": 1, "v2": 2, "v3": 3}
_V1_KEY: Final = "first_mes"
_FORMATS: Final = (
    "the formats are character cards (PNG, WebP, JPEG, JSON, CHARX), worlds, SillyTavern's presets and regex "
    "scripts, Modelfiles, aichat's roles, llm's templates, characters of text-generation-webui and Agnai, "
    "LM Studio's presets and .md files"
)


class _Content(NamedTuple):
    """The format of a file, and its content if it was parsed to recognize the format."""

    kind: str
    parsed: Any = None


def read(data: bytes, source: Path) -> ImportResult:
    """Read a file. `source` is named in errors, and provides a name for a persona without one.

    Raises PersonaError if the format is unknown or the file is invalid.
    """
    remarks = Remarks(source)
    content = _content(data, source)
    if not content.kind:
        raise PersonaError(f"{source} is not in a format that hermes can read", _FORMATS)
    result = _persona_or_lorebook(content, data, source, remarks)
    texts = _texts(result)
    invisible, direction = hidden_characters.count(texts)
    if invisible or direction:
        least = "at least " if invisible + direction >= hidden_characters.MOST else ""
        remarks.add(
            f"its texts have {least}{invisible:,} invisible and {direction:,} direction-changing characters"
        )
    variables = (
        template.variables(result) if isinstance(result, Persona) and template.is_template(result) else ()
    )
    if unknown := sorted(set(unknown_macros(texts)) - {name.lower() for name in variables}):
        names = ", ".join(f"{{{{{name}}}}}" for name in unknown)
        remarks.add(f"unknown macros are left in the texts: {names}")
    if isinstance(result, Lorebook):
        return ImportResult(content.kind, None, result, remarks.summary())
    persona = result._replace(source=source, original=source, kind=content.kind)
    return ImportResult(content.kind, persona, None, remarks.summary())


def write(persona: Persona, kind: str, original: bytes | None) -> bytes:
    """Return a persona as a file in the format `kind`, which is in WRITABLE.

    `original` is the file that it was imported from, in any format. Its unknown keys are preserved. Raises
    PersonaError if that file cannot be read, or if the format cannot represent the persona.
    """
    if kind not in WRITABLE:
        raise PersonaError(f"there is no format '{kind}' to write", f"the formats are {', '.join(WRITABLE)}")
    persona = without_prompt(persona)
    source = persona.original or persona.source
    content = _content(original, source) if original is not None else _Content("")
    if kind == "modelfile":
        from hermes_cli.personas.formats import modelfile

        return modelfile.write(persona, content.parsed if content.kind == kind else None).encode()
    if original is not None and content.kind == kind:
        data = _changed(persona, content, original, source)
    else:
        document = _card(content, original or b"", source)
        data = _new(persona, kind, document, charx.image_of(content.kind, original or b"", document))
    return check_size(data, MAX_BYTES, Source(f"{source}: as a {kind} it", PersonaError))


def picture(data: bytes, kind: str, source: Path) -> png.Picture | None:
    """Return the picture in a card for a terminal, or None if it has none, or one in another format than PNG.

    Raises PersonaError if the picture is invalid or too large.
    """
    if kind == "charx":
        data = charx.image_of(kind, data, charx.read(data, source))
    return png.picture(data, source) if data.startswith(png.SIGNATURE) else None


def _content(data: bytes, source: Path) -> _Content:
    """Recognize the format of a file. `kind` is empty if it is unknown. Raises PersonaError."""
    check_size(data, MAX_BYTES, Source(str(source), PersonaError))
    if data.startswith(png.SIGNATURE):
        return _Content("png")
    if data.startswith(charx.SIGNATURES):
        return _Content("charx")
    if kind := photo.kind_of(data):
        return _Content(kind)
    is_text, start = source.suffix.lower() in TEXT_SUFFIXES, data.removeprefix(BOM.encode()).lstrip()[:1]
    if start == b"{" or (start == b"[" and source.suffix.lower() == ".json"):
        try:
            content = _json_content(card.parse_json(data, source))
        except PersonaError:
            if not is_text:
                raise
            content = _Content("")
        if content.kind or not is_text:
            return content
    return _text_content(data, source, is_text=is_text)


def _json_content(document: Any) -> _Content:
    from hermes_cli.personas.formats import agnai, presets, sillytavern_presets

    if isinstance(document, list):
        is_scripts = bool(document) and all(map(regex_scripts.is_script, document))
        return _Content(REGEX if is_scripts else "", document)
    version = card.version(document)
    if agnai.is_character(document):  # checked first, because it has keys of a V1 card
        kind = "agnai"
    elif version > 1:
        kind = f"v{version}"
    elif version and _V1_KEY in document:  # checked first, because some files mix formats
        kind = "v1"
    elif presets.is_lmstudio(document):
        kind = "lmstudio"
    elif presets.is_webui(document):
        kind = "webui"
    elif world.is_world(document):
        kind = "world"
    elif regex_scripts.is_script(document):
        kind = REGEX
    elif sillytavern_presets.is_preset(document):
        kind = PRESET
    else:
        kind = "v1" if version else ""
    return _Content(kind, document)


def _text_content(data: bytes, source: Path, *, is_text: bool) -> _Content:
    from hermes_cli.personas.formats import aichat, modelfile, presets

    file = Source(str(source), PersonaError)
    if is_text:
        check_size(data, plain_text.MAX_BYTES, file)
    elif len(data) > card.LIMITS.size:
        return _Content("")
    text = decode(data, file).removeprefix(BOM)
    for kind, is_kind in (("modelfile", modelfile.is_modelfile), ("aichat", aichat.is_aichat)):
        if is_kind(text):
            return _Content(kind, text)
    if is_text:
        return _Content("text", text)
    document = yaml_parser.parse(data, file)
    if not isinstance(document, dict):
        return _Content("")
    if presets.is_webui(document):
        return _Content("webui", document)
    return _Content("llm" if presets.is_llm(document) else "", document)


def _persona_or_lorebook(
    content: _Content, data: bytes, source: Path, remarks: Remarks
) -> Persona | Lorebook:
    if content.kind == "world":
        return world.read(content.parsed, source, remarks)
    document = _card(content, data, source)
    if document is not None:
        return card.read(document, source, remarks)
    from hermes_cli.personas.formats import agnai, aichat, modelfile, presets, sillytavern_presets

    readers: dict[str, Callable[[Any, Path, Remarks], Persona]] = {
        "modelfile": modelfile.read,
        "text": plain_text.read,
        "aichat": aichat.read,
        "llm": presets.read_llm,
        "webui": presets.read_webui,
        "agnai": agnai.read,
        "lmstudio": presets.read_lmstudio,
        REGEX: regex_scripts.read_file,
        PRESET: sillytavern_presets.read,
    }
    return readers[content.kind](content.parsed, source, remarks)


def _card(content: _Content, data: bytes, source: Path) -> dict[str, Any] | None:
    """Return the card in a file, or None if it has none. Raises PersonaError if the card is damaged."""
    if content.kind == "png":
        return next(iter(png.read(data, source).values()))
    if content.kind == "charx":
        return charx.read(data, source)
    if content.kind in {photo.WEBP, photo.JPEG}:
        return photo.read(data, source)
    return dict(content.parsed) if content.kind in _VERSIONS else None


def _changed(persona: Persona, content: _Content, original: bytes, source: Path) -> bytes:
    """Return the original file with the persona's changes applied, or unchanged if there are none."""
    if content.kind == "png":
        cards = png.read(original, source)
        old = card.read(next(iter(cards.values())), source, Remarks())
        texts = dict[str, bytes]()
        for keyword, before in cards.items():
            document = card_write.apply_changes(before, old, persona)
            if document != before:
                texts[keyword] = card_write.text(document, source, short=True)
        return png.replace_cards(original, texts, source) if texts else original
    before = _card(content, original, source) or {}
    document = card_write.apply_changes(before, card.read(before, source, Remarks()), persona)
    if document == before:
        return original
    text = card_write.text(document, source)
    return charx.replace_card(original, text, source) if content.kind == "charx" else text


def _new(persona: Persona, kind: str, document: dict[str, Any] | None, image: bytes) -> bytes:
    """Return a new file in another format than the original's, with the original's image if any."""
    source = persona.original or persona.source
    if kind in _VERSIONS:
        return card_write.text(card_write.build(document, persona, _VERSIONS[kind]), source)
    newest = card_write.build(document, persona, 3)
    if image:
        newest = charx.add_asset(newest, is_inside=kind == "charx")
    if kind == "charx":
        return charx.build(card_write.text(newest, source), {charx.IMAGE: image} if image else {})
    documents = {"chara": card_write.build(document, persona, 2), "ccv3": newest}
    texts = {key: card_write.text(document, source, short=True) for key, document in documents.items()}
    return png.replace_cards(image or png.blank(), texts, source)


def _texts(value: Any) -> list[str]:
    """Return all strings in a persona or a lorebook, at any depth, except the expressions of scripts."""
    texts, rest = list[str](), [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, RegexScript):
            rest += [MATCH.sub("", item.replace), item.trim]
        elif isinstance(item, tuple):
            # Most fields of an entry are numbers and empty; testing them here takes half the time.
            rest += [value for value in item if value and type(value) is not int]
    return texts
