"""Reads a system prompt in a text or Markdown file, such as a pattern of fabric.

Macros in it are not expanded. A pattern ends with the heading INPUT, below which fabric puts the user's text.
In hermes, that text is the user's turn, so the heading is left out.
"""

import re
from pathlib import Path
from typing import Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.source import Source, check_text, line_feeds

MAX_BYTES: Final = 4 << 20
_PATTERN_FILE: Final = "system.md"
"""The name of each pattern's file; the name of the pattern is that of the folder."""
_INPUT: Final = re.compile(r"#*[ \t]*INPUT[ \t]*:?[ \t]*")


def read(text: str, source: Path, remarks: Remarks) -> Persona:
    """Return the persona whose system prompt is `text`. Raises PersonaError if it is empty or has a NUL."""
    system = line_feeds(check_text(text, Source(str(source), PersonaError)))
    if not system:
        raise PersonaError(f"{source} is empty", "write a system prompt; the whole text of the file is used")
    shorter = _without_input(system)
    if shorter != system:
        remarks.add("the heading INPUT at its end is left out: your message is sent as a turn of its own")
    name = source.parent.name if source.name == _PATTERN_FILE else ""
    return Persona(name=name or source.stem, system=shorter, source=source, verbatim=True)


def _without_input(text: str) -> str:
    """Return the text without the headings INPUT at its end, unless nothing else is in it."""
    lines = text.split("\n")
    count, found = len(lines), 0
    while count and (not lines[count - 1].strip() or _INPUT.fullmatch(lines[count - 1])):
        count -= 1
        found += bool(lines[count].strip())
    return "\n".join(lines[:count]) + "\n" if found and count else text
