"""`hermes personas new` and `edit`: create a persona file from a template, or edit one."""

from pathlib import Path

from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.personas import folder, loader, native_writer
from hermes_cli.personas.persona import Persona
from hermes_cli.repl import editor
from hermes_cli.untrusted.source import Source, read_text


def begin(runtime: Runtime, name: str, *, force: bool) -> None:
    """Write the commented file of a new persona and print its path.

    Raises UsageError if the name is invalid or taken.
    """
    title = " ".join(name.split())
    if not title or not title.isprintable():
        raise UsageError("that is no name for a character", "name it as it is to be called")
    key = folder.slug(title)
    place = runtime.paths.personas
    taken = None if force else folder.taken_by(place, key)
    if taken:
        raise UsageError(f"'{key}' is there already: {taken}", f"`hermes personas edit {key}` opens it")
    path = folder.keep(place, key, native_writer.template(title))
    runtime.terminal.write(f"{path}\n")
    runtime.terminal.notice(f"`hermes personas edit {key}` opens it, `hermes chat -p {key}` plays it")


def edit(runtime: Runtime, name: str) -> None:
    """Open the user's file of a persona in an editor, and print the findings about it afterwards.

    Raises UsageError if there is no editor, and PersonaError if the edited file has a mistake.
    """
    path = _own_file(runtime, name)
    editor.open_file(path, runtime.environ, f"the file is {path}")
    persona = loader.load_file(path)
    _say_what_lacks(runtime, persona)


def _own_file(runtime: Runtime, name: str) -> Path:
    """Return the file to edit. Copy a persona that came with hermes, and import a character card, first."""
    source = loader.locate(name, runtime.paths.personas, loader.shipped_dir())
    if source.suffix.lower() not in loader.FOREIGN and source.name != loader.MODELFILE:
        if source.parent != loader.shipped_dir():
            return source
        text = read_text(source, loader.MAX_BYTES, Source(str(source), PersonaError))
        runtime.terminal.notice(f"{source.stem} came with hermes; this is a copy of your own")
        return folder.keep(runtime.paths.personas, source.stem, text)
    from hermes_cli.application.persona_files import import_card  # noqa: PLC0415 - imports every format

    return import_card(runtime, source)


def _say_what_lacks(runtime: Runtime, persona: Persona) -> None:
    from hermes_cli.application.persona_check import by_estimate  # noqa: PLC0415 - slow, and only needed after editing

    for finding in by_estimate(runtime, persona):
        runtime.terminal.notice(finding)
    runtime.terminal.notice(f"`hermes chat -p {persona.key}` plays it")
