"""From a name or a path to a Persona.

It knows the two folders personas live in and which files in them count. It refuses to know what stands in a
persona file: `native.py` does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hermes_cli.errors import PersonaError
from hermes_cli.options import suggestion
from hermes_cli.personas import native
from hermes_cli.personas.persona import Persona
from hermes_cli.textfiles import read_text

SUFFIXES: Final = (".toml", ".txt", ".md")  # where two files have one name, the earlier wins
_LIST_HINT: Final = "`hermes personas list` shows them; a path to a .toml, .txt or .md file works too"


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of the list of personas: what to type, the file, and the persona or why it is none."""

    key: str
    source: Path
    shipped: bool
    persona: Persona | None
    error: PersonaError | None = None


def shipped_dir() -> Path:
    """Return the folder of the personas that came with hermes: in the package, or in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "shipped_personas", package.parent / "personas"
    return installed if installed.is_dir() else checkout


def find(name_or_path: str, user_dir: Path, shipped_dir: Path) -> Persona:
    """Return the persona of that name, the user's own before the shipped one, or the one at that path.

    What has a slash, or ends in a persona file's suffix, is a path.

    Raises PersonaError where there is none or its file cannot be used.
    """
    path = Path(name_or_path)
    if "/" in name_or_path or path.suffix.lower() in SUFFIXES:
        return load_file(path)
    sources = _sources(user_dir, shipped_dir)
    if name_or_path in sources:
        return load_file(sources[name_or_path])
    if path.suffix and path.exists():
        return load_file(path)
    raise PersonaError(
        f"there is no persona '{name_or_path}'{suggestion(name_or_path.lower(), sources)}", _LIST_HINT
    )


def list_all(user_dir: Path, shipped_dir: Path) -> list[Listing]:
    """Return every persona that a name leads to, by name. A broken file is listed with its error."""
    result = []
    for key, source in sorted(_sources(user_dir, shipped_dir).items()):
        shipped = source.parent == shipped_dir
        try:
            result.append(Listing(key, source, shipped, load_file(source)))
        except PersonaError as error:
            result.append(Listing(key, source, shipped, None, error))
    return result


def load_file(path: Path) -> Persona:
    """Return the persona in a file: `.toml` by its keys, `.txt` and `.md` as a system prompt as it stands.

    Raises PersonaError where it cannot be read or used.
    """
    if path.suffix.lower() not in SUFFIXES and path.is_file():
        raise PersonaError(
            f"{path} is no persona file by its name", "a persona file ends in .toml, .txt or .md"
        )
    text = read_text(path, PersonaError, _LIST_HINT)
    if path.suffix.lower() == ".toml":
        return native.parse(text, path)
    if not text:
        raise PersonaError(f"{path} is empty", "its whole text is the system prompt: write one")
    return Persona(name=path.stem, system=text, source=path, verbatim=True)


def _sources(user_dir: Path, shipped_dir: Path) -> dict[str, Path]:
    """Map each name to its file. Written from the weakest claim to the strongest."""
    result: dict[str, Path] = {}
    for folder in (shipped_dir, user_dir):
        for suffix in reversed(SUFFIXES):
            try:
                found = sorted(p for p in folder.iterdir() if p.suffix.lower() == suffix)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise PersonaError(f"the folder {folder} cannot be read: {error.strerror}") from None
            result.update({p.stem: p for p in found if not p.name.startswith(".")})
    return result
