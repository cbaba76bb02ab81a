"""`hermes personas show`: the fields and texts of a persona, as they are in its file."""

from collections.abc import Iterator

from hermes_cli.application.runtime import Runtime
from hermes_cli.personas import loader
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.persona import Persona
from hermes_cli.screen.columns import columns, counted
from hermes_cli.screen.sanitize import sanitize_line

MAX_ENTRIES = 200


def show(runtime: Runtime, name: str) -> None:
    """Write the fields, texts and lorebooks of a persona to standard output."""
    persona = runtime.persona(name)
    terminal = runtime.terminal
    terminal.write(columns([row for row in _facts(persona) if row[1]]) + "\n")
    for title, text in _texts(persona):
        if text.strip():
            terminal.write(f"\n[{title}]\n{text.strip()}\n")
    worlds = loader.lorebooks(persona, runtime.paths.lore)
    for book in worlds.books:
        title = f"lorebook {sanitize_line(book.name)}".strip()
        rows = [_entry_row(entry) for entry in book.entries[:MAX_ENTRIES]]
        more = len(book.entries) - len(rows)
        rest = f"\nand {more:,} more" if more else ""
        count = counted(len(book.entries), "entry", "entries")
        terminal.write(f"\n[{title}, {count}]\n{columns(rows)}{rest}\n")
    for world in worlds.missing:
        terminal.notice(f"there is no world '{sanitize_line(world)}' in {runtime.paths.lore}")


def _facts(persona: Persona) -> list[tuple[str, str]]:
    facts = [
        ("name", persona.name),
        ("nickname", persona.nickname),
        ("description", persona.description),
        ("you are", persona.user or ""),
        ("worlds", ", ".join(persona.worlds)),
        ("file", str(persona.source)),
        ("made from", f"{persona.original} ({persona.kind})" if persona.original else ""),
    ]
    return facts + [(key, str(value)) for key, value in persona.options.items()]


def _texts(persona: Persona) -> Iterator[tuple[str, str]]:
    yield "system", persona.system
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
        yield f"note, {counted(persona.note.depth, 'turn')} from the end", persona.note.text
    yield "post-history", persona.post_history
    yield "notes of its maker, never sent to the model", persona.creator_notes


def _entry_row(entry: LoreEntry) -> tuple[str, ...]:
    when = "always" if entry.constant else ", ".join(entry.keys)
    return (entry.title, when if entry.enabled else "disabled", entry.content)
