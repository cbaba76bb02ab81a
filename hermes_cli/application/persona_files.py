"""`hermes personas import` and `export`: personas and lorebooks, also in the formats of other programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.options import suggestion
from hermes_cli.personas import folder, loader, native, native_writer
from hermes_cli.personas.formats import registry
from hermes_cli.personas.formats.import_result import ImportResult
from hermes_cli.personas.persona import Persona
from hermes_cli.private_files import write_private
from hermes_cli.screen.columns import columns

FORMATS = (*registry.WRITABLE, "toml")
DEFAULT_FORMAT = "v2"
BINARY = {"png", "charx"}
EXTENSIONS = {"png": ".png", "charx": ".charx", "modelfile": ".modelfile", "toml": ".toml"}
IMPORT_EXTENSIONS = {
    **EXTENSIONS,
    "webp": ".webp",
    "jpeg": ".jpg",
    "aichat": ".md",
    "llm": ".yaml",
    "webui": ".yaml",
}
JSON = ".json"
NATIVE = "toml"
HEAD = "# Imported by `hermes personas import`. The original file is in the same folder.\n\n"


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A file to import: its content, and the folder, name and text of the new persona or lorebook."""

    source: Path
    data: bytes
    found: ImportResult
    folder: Path
    key: str
    text: str

    @property
    def extension(self) -> str:
        """The extension with which the original file is saved."""
        if self.found.kind == "webui" and self.data.lstrip()[:1] == b"{":
            return JSON
        return IMPORT_EXTENSIONS.get(self.found.kind, JSON)

    def save(self) -> Path:
        """Save the converted text and the original file, if they differ, and return the path of the text."""
        original = None if self.found.kind == NATIVE else (self.extension, self.data)
        return folder.write_toml(self.folder, self.key, self.text, original)


def import_files(runtime: Runtime, names: Sequence[str], new_name: str, *, force: bool) -> None:
    """Read all files, save them as personas and lorebooks, and print the next command for each.

    Raises PersonaError for an invalid file and UsageError for a taken name. Nothing is saved in either case.
    """
    if new_name and len(names) > 1:
        raise UsageError("--as works with one file only", "import the files one by one")
    imported = [_read(runtime, Path(name), new_name) for name in names]
    _require_free_names(imported, force=force)
    for file in imported:
        file.save()
        for remark in file.found.remarks:
            runtime.terminal.notice(f"{file.source}: {remark}")
    rows = [
        (file.key, file.found.kind, file.found.persona.name if file.found.persona else "a world")
        for file in imported
    ]
    runtime.terminal.write_rows(columns(rows))
    for file in imported:
        world = f'add worlds = ["{file.key}"] to a persona, or start a chat with --lore {file.key}'
        runtime.terminal.notice(f"hermes chat -p {file.key}" if file.found.persona else world)


def import_card(runtime: Runtime, path: Path) -> Path:
    """Convert another program's persona to a file in hermes' format, and return its path.

    A file in the user's personas folder keeps its name. Raises PersonaError if the file cannot be read, and
    UsageError if the new file already exists.
    """
    key = path.stem if path.parent == runtime.paths.personas else ""
    imported = _read(runtime, path, path.stem, key)
    _require_free_names([imported], force=False)
    new = imported.save()
    runtime.terminal.notice(f"imported {path} as {new}")
    return new


def export(runtime: Runtime, name: str, format_name: str, output: str, *, force: bool) -> None:
    """Write a persona to a file or standard output, in the given format.

    Raises UsageError for an unknown format, and if a binary format would be written to a terminal.
    """
    terminal = runtime.terminal
    kind = _format(format_name, output)
    persona = runtime.persona(name)
    data = _exported(runtime, persona, kind)
    if output in {"", "-"}:
        if kind in BINARY and terminal.stdout_is_tty:
            raise UsageError(
                f"{kind} is a binary format", f"write it to a file: -o {persona.key}{EXTENSIONS[kind]}"
            )
        terminal.write(data.decode("utf-8", "surrogateescape"))
        return
    path = _output_path(output, f"{persona.key}{EXTENSIONS.get(kind, JSON)}")
    write_private(path, data, replace=force, hint="choose another name, or overwrite it with --force")
    terminal.notice(f"{persona.name} written to {path}: {kind}")


def _read(runtime: Runtime, path: Path, new_name: str, key: str = "") -> ImportedFile:
    """Read a file and convert it to hermes' format. Raises PersonaError."""
    data = loader.read_card(path)
    is_native = path.suffix.lower() == loader.NATIVE_SUFFIX
    found = _read_native(path) if is_native else registry.read(data, path)
    content = found.persona or found.lorebook
    if content is None:
        raise PersonaError(f"{path} contains neither a persona nor a world")
    key = key or folder.slug(new_name or content.name, path.stem)
    if found.is_part:
        raise loader.part_error(path)
    if left_out := path.stat().st_size - len(data):
        size = f"{left_out / 2**20:,.0f} MiB"
        remark = f"its images and sounds ({size}) are left out: keep the file if you want to export them"
        found = replace(found, remarks=(*found.remarks, remark))
    target = runtime.paths.personas if found.persona else runtime.paths.lore
    imported = ImportedFile(path, data, found, target, key, "")
    if is_native:  # copied unchanged, to keep its comments
        return replace(imported, text=data.decode("utf-8-sig"))
    if isinstance(content, Persona):
        _require_text(content, found.kind, path)
        content = content._replace(original=target / f"{key}{imported.extension}")
    text = HEAD + native_writer.write(content)
    # Parse the result, so that a file that hermes cannot read is never saved.
    parse = native.parse if found.persona else native.parse_lorebook
    parse(text, path)
    return replace(imported, text=text)


def _require_text(persona: Persona, kind: str, path: Path) -> None:
    """Raise PersonaError if a persona of another program has no text for the model."""
    texts = (persona.system, persona.prompt, persona.post_history)
    if persona.is_character or persona.examples or any(text.strip() for text in texts):
        return
    if kind == "modelfile":
        raise PersonaError(
            f"{path} has no system prompt: it only sets a model and its options",
            "add a line such as: SYSTEM You are a patient teacher.",
        )
    raise PersonaError(f"{path} has no system prompt and no character", "get the original file")


def _read_native(path: Path) -> ImportResult:
    """Read a persona or a lorebook in hermes' format. Raises PersonaError."""
    try:
        return ImportResult(NATIVE, loader.load_file(path), None, ())
    except PersonaError as not_a_persona:
        try:
            return ImportResult(NATIVE, None, loader.load_lorebook(path), ())
        except PersonaError:
            raise not_a_persona from None


def _require_free_names(imported: Sequence[ImportedFile], *, force: bool) -> None:
    """Raise UsageError if two files have the same name, or if a name is taken and `force` is not set."""
    seen = dict[Path, Path]()
    for file in imported:
        path = file.folder / file.key
        if path in seen:
            raise UsageError(
                f"{seen[path]} and {file.source} would both be named '{file.key}'",
                "nothing was imported; import one of them alone, with --as NAME",
            )
        seen[path] = file.source
        taken = None if force else folder.find_existing(file.folder, file.key, ignore=(file.source,))
        if taken:
            raise UsageError(
                f"'{file.key}' already exists: {taken}",
                "nothing was imported; choose another name with --as NAME, or overwrite it with --force",
            )


def _format(format_name: str, output: str) -> str:
    if format_name:
        known = format_name.lower()
        if known not in FORMATS:
            raise UsageError(
                f"there is no format '{format_name}'{suggestion(known, FORMATS)}",
                f"the formats are {', '.join(FORMATS)}",
            )
        return known
    suffix = Path(output).suffix.lower()
    return next((kind for kind, extension in EXTENSIONS.items() if suffix == extension), DEFAULT_FORMAT)


def _exported(runtime: Runtime, persona: Persona, kind: str) -> bytes:
    if kind == "toml":
        return native_writer.write(persona._replace(original=None)).encode()
    original = None
    if persona.original:
        try:
            original = loader.read_card(persona.original)
        except PersonaError as error:
            runtime.terminal.notice(
                f"{error.message}; the export lacks the fields that only that file contains"
            )
    return registry.write(persona, kind, original)


def _output_path(output: str, name: str) -> Path:
    """Return the path of the output file. If `output` is a folder, the file in it is called `name`."""
    try:
        path = Path(output).expanduser()
        return path / name if path.is_dir() else path
    except (OSError, RuntimeError, ValueError):
        raise UsageError(f"{output} is not a valid path", "choose another file") from None
