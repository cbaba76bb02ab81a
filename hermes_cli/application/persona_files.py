"""`hermes personas import` and `export`: personas and lorebooks in the formats of other programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.options import suggestion
from hermes_cli.personas import folder, loader, native, native_writer
from hermes_cli.personas.formats import registry
from hermes_cli.personas.lorebook import Lorebook
from hermes_cli.personas.persona import Persona
from hermes_cli.private_files import write_private
from hermes_cli.screen.columns import columns

FORMATS = (*registry.WRITABLE, "toml")
USUAL_FORMAT = "v2"
BINARY = {"png", "charx"}
ENDINGS = {"png": ".png", "charx": ".charx", "modelfile": ".modelfile", "toml": ".toml"}
OTHER_ENDINGS = {"aichat": ".md", "llm": ".yaml", "webui": ".yaml"}
JSON = ".json"
HEAD = "# Taken over by `hermes personas import`. The file it was made from lies beside this one.\n\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An imported file: its content, and the folder, name and text of the new persona or lorebook."""

    source: Path
    data: bytes
    found: registry.ImportResult
    folder: Path
    key: str
    text: str

    @property
    def ending(self) -> str:
        """The file extension for the original file, which depends on its content."""
        kind = self.found.kind
        if kind == "webui" and self.data.lstrip()[:1] == b"{":
            return JSON
        return ENDINGS.get(kind) or OTHER_ENDINGS.get(kind, JSON)


def import_files(runtime: Runtime, names: Sequence[str], wanted: str, *, force: bool) -> None:
    """Read all files, save them as personas and lorebooks, and print the next command for each.

    Raises PersonaError at the first mistake, and UsageError if a name is taken; then nothing is saved.
    """
    if wanted and len(names) > 1:
        raise UsageError("--as names one persona, and here are several files", "import them one by one")
    arrivals = [_arrival(runtime, Path(name), wanted) for name in names]
    _refuse_taken(arrivals, force=force)
    for one in arrivals:
        folder.keep(one.folder, one.key, one.text, (one.ending, one.data))
        for remark in one.found.remarks:
            runtime.terminal.notice(f"{one.source}: {remark}")
    rows = [
        (one.key, one.found.kind, one.found.persona.name if one.found.persona else "a world")
        for one in arrivals
    ]
    runtime.terminal.write(columns(rows) + "\n")
    for one in arrivals:
        runtime.terminal.notice(_next_step(one))


def import_card(runtime: Runtime, path: Path) -> Path:
    """Convert another program's persona to a file in hermes' format, and return the new file.

    A file in the user's personas folder keeps its name. Raises PersonaError if the file cannot be read, and
    UsageError if the new file exists already.
    """
    key = path.stem if path.parent == runtime.paths.personas else ""
    one = _arrival(runtime, path, path.stem, key)
    _refuse_taken([one], force=False)
    made = folder.keep(one.folder, one.key, one.text, (one.ending, one.data))
    runtime.terminal.notice(f"{path} was taken over as {made}")
    return made


def export(runtime: Runtime, name: str, format_name: str, output: str, *, force: bool) -> None:
    """Write a persona in a format, to a file or standard output.

    Raises UsageError for an unknown format, and for a binary format on a terminal.
    """
    terminal = runtime.terminal
    kind = _format(format_name, output)
    persona = runtime.persona(name)
    data = _exported(runtime, persona, kind)
    if output in {"", "-"}:
        if kind in BINARY and terminal.stdout_is_tty:
            raise UsageError(f"{kind} is no text for a terminal", f"-o {persona.key}{ENDINGS[kind]}")
        terminal.write(data.decode("utf-8", "surrogateescape"))
        return
    path = _place(output, persona.key, ENDINGS.get(kind, JSON))
    write_private(path, data, replace=force, hint="take another name, or --force to write over it")
    terminal.notice(f"{persona.name} written to {path}: {kind}")


def _arrival(runtime: Runtime, path: Path, wanted: str, key: str = "") -> Arrival:
    """Read a file and convert it to hermes' format. Raises PersonaError."""
    data = loader.read_card(path)
    found = registry.read(data, path)
    of = found.persona or found.lorebook
    if of is None:
        raise PersonaError(f"{path} holds neither a persona nor a world")
    key = key or folder.slug(wanted or of.name, path.stem)
    place = runtime.paths.personas if found.persona else runtime.paths.lore
    arrival = Arrival(path, data, found, place, key, "")
    text = HEAD + native_writer.write(_kept(of, place / f"{key}{arrival.ending}"))
    # Raises if hermes could not read the converted text, so that no such file is saved.
    parsed = native.parse if found.persona else native.parse_lorebook
    parsed(text, path)
    return replace(arrival, text=text)


def _kept(of: Persona | Lorebook, original: Path) -> Persona | Lorebook:
    if isinstance(of, Lorebook):
        return of
    return replace(of, original=original)


def _refuse_taken(arrivals: Sequence[Arrival], *, force: bool) -> None:
    seen = dict[Path, Path]()
    for one in arrivals:
        place = one.folder / one.key
        if place in seen:
            raise UsageError(
                f"{seen[place]} and {one.source} are both called '{one.key}'",
                "nothing was imported; import one of them alone, with --as NAME",
            )
        seen[place] = one.source
        taken = None if force else folder.taken_by(one.folder, one.key, besides=(one.source,))
        if taken:
            raise UsageError(
                f"'{one.key}' is there already: {taken}",
                "nothing was imported; --as NAME takes another name, --force writes over it",
            )


def _next_step(one: Arrival) -> str:
    if one.found.persona:
        return f"hermes chat -p {one.key}"
    return f'a persona lives in it with the line: worlds = ["{one.key}"]; a chat, with --lore {one.key}'


def _format(format_name: str, output: str) -> str:
    if format_name:
        known = format_name.lower()
        if known not in FORMATS:
            raise UsageError(
                f"there is no format '{format_name}'{suggestion(known, FORMATS)}",
                f"there are {', '.join(FORMATS)}",
            )
        return known
    suffix = Path(output).suffix.lower()
    return next((kind for kind, ending in ENDINGS.items() if suffix == ending), USUAL_FORMAT)


def _exported(runtime: Runtime, persona: Persona, kind: str) -> bytes:
    if kind == "toml":
        return native_writer.write(replace(persona, original=None)).encode()
    original = None
    if persona.original:
        try:
            original = loader.read_card(persona.original)
        except PersonaError as error:
            runtime.terminal.notice(f"{error.message}; what only that file held is not in the export")
    return registry.write(persona, kind, original)


def _place(name: str, key: str, ending: str) -> Path:
    try:
        path = Path(name).expanduser()
        return path / f"{key}{ending}" if path.is_dir() else path
    except (OSError, RuntimeError, ValueError):
        raise UsageError(f"{name} is no place for a file", "name another") from None
