"""Finds and loads personas and lorebooks by name or path.

`native.py` parses hermes' format, and `formats/` parses those of other programs.
"""

import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from hermes_cli.errors import PersonaError
from hermes_cli.options import suggestion
from hermes_cli.personas import native
from hermes_cli.personas.lorebook import Lorebook, without_duplicates
from hermes_cli.personas.persona import TEXT_SUFFIXES, Persona
from hermes_cli.untrusted.source import Source, read_bytes, read_start, read_text, valid_text

if TYPE_CHECKING:
    from hermes_cli.personas.formats.import_result import ImportResult

NATIVE_SUFFIX: Final = ".toml"
FOREIGN: Final = (".png", ".charx", ".json", ".webp", ".jpg", ".jpeg", ".yaml", ".yml", ".modelfile")
SUFFIXES: Final = (
    NATIVE_SUFFIX,
    *FOREIGN,
    *TEXT_SUFFIXES,
)  # for files with the same name, the earlier suffix wins
LORE_SUFFIXES: Final = (NATIVE_SUFFIX, ".json")
MAX_BYTES: Final = 4 << 20
MAX_CARD_BYTES: Final = 20 << 20
"""Larger than MAX_BYTES, because a character card can be an image."""

MODELFILE: Final = "Modelfile"
_LIST_HINT: Final = "`hermes personas list` lists them; a path to a .toml, .png or .txt file works too"
_LORE_HINT: Final = "`hermes personas import FILE` imports one; a path to a .json or .toml file works too"


class Listing(NamedTuple):
    """An item in the list of personas: the key, the file, and the persona or the error."""

    key: str
    source: Path
    shipped: bool
    persona: Persona | None
    error: PersonaError | None = None


class Worlds(NamedTuple):
    """The lorebooks of a persona, the embedded one first, and the names of lorebooks that were not found."""

    books: tuple[Lorebook, ...] = ()
    missing: tuple[str, ...] = ()


def shipped_dir() -> Path:
    """Return the folder of the personas that come with hermes, in the package or in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "shipped_personas", package.parent / "personas"
    return installed if installed.is_dir() else checkout


def find(name_or_path: str, user_dir: Path, shipped_dir: Path) -> Persona:
    """Return the persona with that name or at that path. The user's personas take precedence.

    Raises PersonaError if there is no such persona or its file is invalid.
    """
    return load_file(locate(name_or_path, user_dir, shipped_dir))


def locate(name_or_path: str, user_dir: Path, shipped_dir: Path) -> Path:
    """Return the file of a persona, which is given by its key, its display name or its path.

    A name with a slash or with the suffix of a persona file is a path. Raises PersonaError if there is no
    such persona, or if several have that display name.
    """
    path = Path(name_or_path)
    if "/" in name_or_path or path.suffix.lower() in SUFFIXES:
        return path
    sources = _sources(shipped_dir, SUFFIXES) | _sources(user_dir, SUFFIXES)
    if (key := valid_text(name_or_path)) in sources:
        return sources[key]
    if (path.suffix or name_or_path == MODELFILE) and is_file(path):
        return path
    named = _with_display_name(name_or_path, user_dir, shipped_dir)
    if len(named) == 1:
        return named[0].source
    if named:
        keys = " or ".join(item.key for item in named)
        raise PersonaError(f"{len(named)} personas have the name '{name_or_path}'", f"use a key: {keys}")
    similar = [
        source for key, source in sources.items() if _without_accents(key) == _without_accents(name_or_path)
    ]
    if len(similar) == 1:
        return similar[0]
    raise PersonaError(
        f"there is no persona '{name_or_path}'{suggestion(name_or_path.lower(), sources)}", _LIST_HINT
    )


def _without_accents(name: str) -> str:
    """Return a name as it can be typed on any keyboard that has its letters."""
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)
    )


def _with_display_name(name: str, user_dir: Path, shipped_dir: Path) -> list[Listing]:
    """Return the personas whose display name equals `name` after Unicode normalization."""
    wanted = unicodedata.normalize("NFC", name)
    return [
        entry
        for entry in list_all(user_dir, shipped_dir)
        if entry.persona is not None and unicodedata.normalize("NFC", entry.persona.name) == wanted
    ]


def list_all(user_dir: Path, shipped_dir: Path) -> list[Listing]:
    """Return every persona, sorted by key. An invalid file is listed with its error."""
    result = []
    sources = _sources(shipped_dir, SUFFIXES) | _sources(user_dir, SUFFIXES)
    for key, source in sorted(sources.items()):
        shipped = source.parent == shipped_dir
        try:
            result.append(Listing(key, source, shipped, load_file(source)))
        except PersonaError as error:
            result.append(Listing(key, source, shipped, None, error))
    return result


def keys(user_dir: Path, shipped_dir: Path) -> list[str]:
    """Return the keys of all personas, sorted, without reading the files."""
    return sorted(_sources(shipped_dir, SUFFIXES) | _sources(user_dir, SUFFIXES))


def lorebook_keys(lore_dir: Path) -> list[str]:
    """Return the names of the files with lorebooks, sorted, without reading them."""
    return sorted(_sources(lore_dir, LORE_SUFFIXES))


def load_file(path: Path) -> Persona:
    """Return the persona in a file.

    A `.toml` file is in hermes' format. The format of any other file is recognized by its content.
    Raises PersonaError if the file cannot be read or is invalid.
    """
    persona = _load(path)
    return persona._replace(name=valid_text(persona.name))


def _load(path: Path) -> Persona:
    if path.suffix.lower() == NATIVE_SUFFIX:
        return native.parse(_read_text(path, _LIST_HINT), path)
    result = read_foreign(path, _LIST_HINT)
    if result.persona is None:
        raise PersonaError(
            f"{path} is a lorebook, not a persona",
            f"`hermes personas import {path}` adds it to the lore folder",
        )
    if result.is_part:
        raise part_error(path)
    return result.persona


def part_error(path: Path) -> PersonaError:
    """Return the error about a file that holds only a part of a persona."""
    return PersonaError(
        f"{path} has regex scripts or settings, and no persona",
        f"`hermes personas import {path} --into NAME` adds them to one",
    )


def read_foreign(path: Path, missing_hint: str = "check the name") -> "ImportResult":
    """Return the persona or lorebook in another program's file. Raises PersonaError."""
    from hermes_cli.personas.formats import registry

    return registry.read(read_card(path, missing_hint), path)


def read_card(path: Path, missing_hint: str = "check the name") -> bytes:
    """Return the contents of another program's file. Raises PersonaError.

    An archive that is larger than MAX_CARD_BYTES is read without its images and sounds.
    """
    from hermes_cli.personas.formats import charx

    source = Source(str(path), PersonaError, missing_hint)
    if not read_start(path, len(charx.SIGNATURES[0]), source).startswith(charx.SIGNATURES):
        return read_bytes(path, MAX_CARD_BYTES, source)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= MAX_CARD_BYTES:
                return file.read(MAX_CARD_BYTES)
            return charx.without_assets(file, path)
    except OSError as error:
        raise source.error(f"cannot be read: {error.strerror}") from None


def _read_text(path: Path, missing_hint: str) -> str:
    return read_text(path, MAX_BYTES, Source(str(path), PersonaError, missing_hint))


def lorebooks(persona: Persona, lore_dir: Path) -> Worlds:
    """Return the lorebook in the persona, the worlds in its `worlds`, and the world with the persona's key.

    The name of a world is its file name without the suffix, or the name in the file; case is ignored. The
    settings of the persona's own lorebook are the defaults of its worlds. Entries with the same content occur
    once. Raises PersonaError if a lorebook's file is invalid.
    """
    books = [persona.lorebook] if persona.lorebook else []
    sources, missing = _sources(lore_dir, LORE_SUFFIXES), list[str]()
    for world in persona.worlds:
        if any(_is_same_name(world, book.name) for book in books):
            continue  # the embedded lorebook is a copy of this world
        book = _world(world, sources)
        if book is None:
            missing.append(world)
        else:
            books.append(_with_defaults(book, persona.lorebook))
    own_file = sources.get(persona.key)
    if own_file and not any(book.source == own_file for book in books):
        books.append(_with_defaults(load_lorebook(own_file), persona.lorebook))
    return Worlds(without_duplicates(books), tuple(missing))


def _with_defaults(book: Lorebook, defaults: Lorebook | None) -> Lorebook:
    """Return a lorebook in which `defaults` replaces the settings that are not set."""
    names = ("scan_depth", "recursive", "whole_words", "share")
    if defaults is None:
        return book
    return book._replace(**{name: getattr(defaults, name) for name in names if getattr(book, name) is None})


def find_lorebook(name_or_path: str, lore_dir: Path) -> Lorebook:
    """Return the lorebook with that name or at that path. The file may also be a card with a lorebook.

    Raises PersonaError if there is no such lorebook or its file is invalid.
    """
    path = Path(name_or_path)
    if "/" in name_or_path or path.suffix.lower() in SUFFIXES:
        return load_lorebook(path)
    sources = _sources(lore_dir, LORE_SUFFIXES)
    book = _world(name_or_path, sources)
    if book is None:
        raise PersonaError(
            f"there is no world '{name_or_path}'{suggestion(name_or_path.lower(), sources)}", _LORE_HINT
        )
    return book


def load_lorebook(path: Path) -> Lorebook:
    """Return the lorebook in a file of hermes or of another program. Raises PersonaError."""
    if path.suffix.lower() == NATIVE_SUFFIX:
        return native.parse_lorebook(_read_text(path, _LORE_HINT), path)
    result = read_foreign(path, _LORE_HINT)
    book = result.lorebook or (result.persona.lorebook if result.persona else None)
    if book is None:
        raise PersonaError(f"{path} contains no lorebook", _LORE_HINT)
    return book


def _world(name: str, sources: dict[str, Path]) -> Lorebook | None:
    """Return the world with that name, or None. File names take precedence over the names in files."""
    for key, source in sources.items():
        if _is_same_name(name, key):
            return load_lorebook(source)
    for source in sources.values():
        try:
            book = load_lorebook(source)
        except PersonaError:  # the name in an invalid file is unknown
            continue
        if _is_same_name(name, book.name):
            return book
    return None


def _is_same_name(name: str, other: str) -> bool:
    return bool(name.strip()) and name.strip().casefold() == other.strip().casefold()


def is_file(path: Path) -> bool:
    """Return whether a file exists at a path. False if the path is invalid."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # the path is too long or contains NUL
        return False


def _sources(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Map the names in a folder to files. For files with the same name, the earlier suffix wins."""
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise PersonaError(f"the folder {folder} cannot be read: {error.strerror}") from None
    result: dict[str, Path] = {}
    for suffix in reversed(suffixes):
        result |= {valid_text(path.stem): path for path in files if path.suffix.lower() == suffix}
    return result
