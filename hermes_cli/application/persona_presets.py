"""`hermes personas import --into`: adds presets and regex scripts of SillyTavern to a persona."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hermes_cli.application.personas import editable_file
from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import PersonaError, UsageError
from hermes_cli.personas import folder, loader, native, native_writer
from hermes_cli.personas.formats import registry
from hermes_cli.personas.formats.import_result import PARTS
from hermes_cli.personas.formats.sillytavern_presets import merged
from hermes_cli.personas.persona import Persona
from hermes_cli.personas.regex_script import MAX_SCRIPTS
from hermes_cli.screen.columns import pluralize
from hermes_cli.untrusted.source import Source, read_text

_TEXTS: Final = ("system", "post_history")


def add_to_persona(runtime: Runtime, names: Sequence[str], persona_name: str) -> None:
    """Add presets and regex scripts to the file of a persona, whose comments are kept.

    A later file overrides an earlier one. Raises PersonaError for a file that cannot be read, and UsageError
    for one of another kind; the persona is then unchanged.
    """
    terminal = runtime.terminal
    runtime.persona(persona_name)  # raises PersonaError before anything is copied
    found = [registry.read(loader.read_card(Path(name)), Path(name)) for name in names]
    for name, result in zip(names, found, strict=True):
        if result.persona is None or result.kind not in PARTS:
            raise UsageError(
                f"{name} is neither a preset nor a regex script of SillyTavern", "import it without --into"
            )
    path = editable_file(runtime, persona_name)
    if path.suffix.lower() != loader.NATIVE_SUFFIX:
        raise UsageError(
            f"{path} is not in hermes' format", f"import it first: hermes personas import {path}"
        )
    before = new = loader.load_file(path)
    for result in found:
        new = merged(result.persona, new) if result.persona else new
    if len(new.regex) > MAX_SCRIPTS:
        raise UsageError(
            f"the persona would have {len(new.regex):,} regex scripts; it can have {MAX_SCRIPTS}"
        )
    text = _changed(read_text(path, loader.MAX_BYTES, Source(str(path), PersonaError)), before, new, path)
    folder.write_toml(path.parent, path.stem, text)
    for name, result in zip(names, found, strict=True):
        for remark in result.remarks:
            terminal.notice(f"{name}: {remark}")
    terminal.notice(f"{path}: {_summary(before, new)}")


def _changed(text: str, before: Persona, new: Persona, path: Path) -> str:
    """Return the text of a persona file with the changes. Raises PersonaError if they cannot be written."""
    changes: dict[str, Any] = {
        name: getattr(new, name) for name in _TEXTS if getattr(new, name) != getattr(before, name)
    }
    if changes or new.options != before.options:
        text = _with_values(text, changes, dict(new.options) if new.options != before.options else {})
    for script in new.regex[len(before.regex) :]:
        text = native_writer.append(text, script)
    written = native.parse(text, path)
    for name in (*_TEXTS, "regex", "options", "lorebook"):
        if getattr(written, name) != getattr(new, name):
            raise PersonaError(f"{path}: '{name}' cannot be changed here", "change it with an editor")
    return text


def _with_values(text: str, values: dict[str, str], options: dict[str, Any]) -> str:
    """Return the text of a TOML file with other values of some keys, and other options."""
    import tomlkit

    document = tomlkit.parse(text)
    for name, value in values.items():
        document[name] = tomlkit.string(value, multiline="\n" in value)
    if options:
        table: Any = document.setdefault("options", tomlkit.table())
        for name, value in options.items():
            if table.get(name) != (list(value) if isinstance(value, tuple) else value):
                table[name] = list(value) if isinstance(value, tuple) else value
    return tomlkit.dumps(document)


def _summary(before: Persona, new: Persona) -> str:
    parts = ["the system prompt is replaced"] if new.system != before.system else []
    parts += ["the post-history instructions are replaced"] if new.post_history != before.post_history else []
    stops = len(new.options.get("stop", ())) - len(before.options.get("stop", ()))
    parts += [f"{pluralize(stops, 'stop string')} added"] if stops else []
    scripts = len(new.regex) - len(before.regex)
    parts += [f"{pluralize(scripts, 'regex script')} added"] if scripts else []
    return ", ".join(parts) or "nothing is changed"
