"""`hermes personas show`, `new` and `edit`: the fields and texts of a persona, and its file."""

from collections.abc import Iterator
from pathlib import Path

from hermes_cli.application.persona_picture import show_picture
from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.personas import folder, loader, native_writer
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.persona import Persona
from hermes_cli.repl import editor
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.screen.sanitize import sanitize, sanitize_line
from hermes_cli.untrusted.source import Source, read_text

MAX_ENTRIES = 200


def show(runtime: Runtime, name: str) -> None:
    """Write the fields, texts and lorebooks of a persona to standard output."""
    persona = runtime.persona(name)
    terminal = runtime.terminal
    if problem := show_picture(runtime, persona):
        terminal.notice(problem)
    terminal.write_rows(columns([row for row in _facts(persona) if row[1]]))
    for title, text in _texts(persona):
        if text.strip():
            terminal.write(f"\n[{title}]\n{sanitize(text.strip())}\n")  # for people, also in a pipe
    worlds = loader.lorebooks(persona, runtime.paths.lore)
    for book in worlds.books:
        title = f"lorebook {sanitize_line(book.name)}".strip()
        rows = [_entry_row(entry) for entry in book.entries[:MAX_ENTRIES]]
        more = len(book.entries) - len(rows)
        omitted = f"\nand {more:,} more" if more else ""
        count = pluralize(len(book.entries), "entry", "entries")
        terminal.write_rows(f"\n[{title}, {count}]\n{columns(rows)}{omitted}")
    for world in worlds.missing:
        terminal.notice(f"there is no world '{sanitize_line(world)}' in {runtime.paths.lore}")


def _facts(persona: Persona) -> list[tuple[str, str]]:
    facts = [
        ("name", persona.name),
        ("nickname", persona.nickname),
        ("description", persona.description),
        ("you are", persona.user or ""),
        ("worlds", ", ".join(persona.worlds)),
        ("regex scripts", _scripts(persona)),
        ("context", f"{persona.context:,} tokens" if persona.context else ""),
        ("file", str(persona.source)),
        ("imported from", f"{persona.original} ({persona.kind})" if persona.original else ""),
    ]
    facts += [("variable", f"{name} = {value}") for name, value in persona.variables.items()]
    return facts + [(key, str(value)) for key, value in persona.options.items()]


def _scripts(persona: Persona) -> str:
    """Return the number of a persona's regex scripts, and how many of them are disabled."""
    count, disabled = len(persona.regex), sum(not script.enabled for script in persona.regex)
    if not count:
        return ""
    return f"{count:,}, {disabled:,} of them disabled" if disabled else f"{count:,}"


def _texts(persona: Persona) -> Iterator[tuple[str, str]]:
    yield "system", persona.system
    yield "prompt, the template of your message to `hermes ask`", persona.prompt
    yield "character", persona.character
    yield "personality", persona.personality
    yield "scenario", persona.scenario
    for number, text in enumerate(persona.greetings, 1):
        yield f"greeting {number} of {len(persona.greetings)}", text
    yield "dialogue", persona.dialogue
    for number, example in enumerate(persona.examples, 1):
        yield f"example {number}, you", example.user
        yield f"example {number}", example.assistant
    if persona.note:
        yield f"note, {pluralize(persona.note.depth, 'turn')} from the end", persona.note.text
    yield "post-history", persona.post_history
    yield "creator's notes, never sent to the model", persona.creator_notes


def _entry_row(entry: LoreEntry) -> tuple[str, ...]:
    keys = "always" if entry.constant else ", ".join(entry.keys)
    return (entry.title, keys if entry.enabled else "disabled", entry.content)


def create(runtime: Runtime, name: str, *, force: bool) -> None:
    """Write a commented template for a new persona, and print its path.

    Raises UsageError if the name is invalid or taken.
    """
    title = " ".join(name.split())
    if not title or not title.isprintable():
        raise UsageError(f"{name!r} cannot be a character's name", "use a printable name that is not empty")
    key = folder.slug(title)
    taken = None if force else folder.find_existing(runtime.paths.personas, key)
    if taken:
        raise UsageError(f"'{key}' already exists: {taken}", f"'hermes personas edit {key}' opens it")
    path = folder.write_toml(runtime.paths.personas, key, native_writer.template(title))
    runtime.terminal.write(f"{path}\n")
    runtime.terminal.notice(f"'hermes personas edit {key}' opens it; 'hermes chat -p {key}' starts a chat")


def edit(runtime: Runtime, name: str) -> None:
    """Open the user's persona file in an editor, then print the findings about it.

    Raises UsageError if there is no editor, and PersonaError if the edited file is invalid.
    """
    from hermes_cli.application.persona_check import estimated_findings

    path = editable_file(runtime, name)
    editor.open_file(path, runtime.environ, f"the file is {path}")
    persona = loader.load_file(path)
    for finding in estimated_findings(runtime, persona):
        runtime.terminal.notice(finding)
    runtime.terminal.notice(f"'hermes chat -p {persona.key}' starts a chat with it")


def editable_file(runtime: Runtime, name: str) -> Path:
    """Return the file to edit, after copying a persona shipped with hermes or importing a character card."""
    source = loader.locate(name, runtime.paths.personas, loader.shipped_dir())
    if source.suffix.lower() not in loader.FOREIGN and source.name != loader.MODELFILE:
        if source.parent != loader.shipped_dir():
            return source
        text = read_text(source, loader.MAX_BYTES, Source(str(source), PersonaError))
        runtime.terminal.notice(f"{source.stem} comes with hermes; copied it to {runtime.paths.personas}")
        return folder.write_toml(runtime.paths.personas, source.stem, text)
    from hermes_cli.application.persona_files import import_card

    return import_card(runtime, source)
