"""Reads characters of text-generation-webui: YAML with name, greeting and context, or older JSON.

Source: that program's character files. The older format is Pygmalion's, in which the user is called You.
"""

import re
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats.fields import Fields
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Persona

_YOU: Final = re.compile(r"^You:", re.MULTILINE)
_OLD: Final = ("char_name", "char_persona", "char_greeting")
_USED: Final = {
    *("name", "bot", "greeting", "context", "example_dialogue", "user", "your_name", "user_bio"),
    *("char_name", "char_persona", "char_greeting", "world_scenario"),
}


def is_one(document: dict[str, Any]) -> bool:
    """Return whether a document has an older key of a character, or a name with a context or greeting."""
    if any(isinstance(document.get(key), str) for key in _OLD):
        return True
    is_named = isinstance(document.get("name", document.get("bot")), str)
    return is_named and any(isinstance(document.get(key), str) for key in ("context", "greeting"))


def read(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona of a character file."""
    fields = Fields(document, remarks)
    for key in document:
        if key not in _USED:
            remarks.add(f"'{str(key)[:60]}' is left out: hermes does not use it")
    old = any(key in document for key in _OLD)
    greeting = fields.text("char_greeting") if old else fields.text("greeting")
    dialogue = fields.text("example_dialogue")
    return Persona(
        name=fields.line("char_name") or fields.line("name") or fields.line("bot") or source.stem,
        system="",
        source=source,
        character=(fields.text("char_persona") if old else fields.text("context")).strip(),
        scenario=fields.text("world_scenario").strip(),
        greetings=(greeting,) if greeting.strip() else (),
        dialogue=_YOU.sub("{{user}}:", dialogue) if old else dialogue,
        user=fields.line("your_name") or fields.line("user") or None,
    )
