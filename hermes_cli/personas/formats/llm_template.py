"""Reads templates of the `llm` tool: YAML with a system prompt, and a prompt that contains `$input`.

Source: llm's "Prompt templates". Code in a template (`functions`) is never run.
"""

import re
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import sampling
from hermes_cli.personas.formats.fields import Fields
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Persona

_VARIABLE: Final = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_USED: Final = ("system", "prompt", "options", "defaults", "name")
_OTHERS: Final = (
    *("model", "schema_object", "fragments", "system_fragments", "attachments", "attachment_types"),
    *("extract", "extract_last", "tools", "functions"),
)


def is_one(document: dict[str, Any]) -> bool:
    """Return whether a YAML document is a template."""
    says = any(isinstance(document.get(key), str) for key in ("system", "prompt"))
    return says and all(key in {*_USED, *_OTHERS} for key in document)


def read(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona of a template."""
    fields = Fields(document, remarks)
    defaults = {str(key): str(value) for key, value in fields.inner("defaults").table.items()}
    prompt = fields.text("prompt")
    for key in document:
        if key not in _USED:
            remarks.add(f"'{key}' is left out" + ("; code is never run" if key == "functions" else ""))
    if prompt:
        remarks.add("its prompt is sent as a part of the system prompt, before what you say")
    texts = (_filled(text, defaults) for text in (fields.text("system"), prompt) if text.strip())
    options = fields.inner("options").table
    return Persona(
        name=fields.line("name") or source.stem,
        system="\n\n".join(texts).strip(),
        source=source,
        options=sampling.options(((str(key), value) for key, value in options.items()), remarks),
    )


def _filled(text: str, defaults: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        name = found[2] or found[3]
        return "what the user says" if name == "input" else defaults.get(name, found[0])

    return _VARIABLE.sub(value, text)
