"""Reads aichat's roles: Markdown with front matter, and examples under `### INPUT:` and `### OUTPUT:`.

Source: aichat's "Role Guide". A role without front matter is not recognized; its text is a system prompt.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import sampling, strict_yaml
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Example, Persona

_FRONT: Final = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_EXAMPLE: Final = re.compile(r"^### (INPUT|OUTPUT):[ \t]*$", re.MULTILINE)
_INPUT: Final = "__INPUT__"
MAX_LENGTH: Final = 256 << 10
_OPTIONS: Final = ("temperature", "top_p")


def is_one(text: str) -> bool:
    """Return whether a text begins with front matter."""
    return _FRONT.match(text) is not None


def read(text: str, source: Path, remarks: Remarks) -> Persona:
    """Return the persona of a role. Raises PersonaError if its front matter is not a table."""
    if len(text) > MAX_LENGTH:
        raise PersonaError(f"{source}: it is longer than {MAX_LENGTH:,} characters", "shorten its texts")
    if "\0" in text:
        remarks.add("NUL characters are taken out of its texts")
        text = text.replace("\0", "")
    found = _FRONT.match(text)
    head: Any = strict_yaml.parse(found[1].encode(), source) if found else {}
    if head is not None and not isinstance(head, dict):
        raise PersonaError(
            f"{source}: what stands between its --- lines is no table", "write lines such as: temperature: 0"
        )
    facts = {str(key): value for key, value in (head or {}).items()}
    for key in facts:
        if key not in {*_OPTIONS, "name"}:
            remarks.add(f"'{key[:60]}' is left out" + ("; name a model with -m" if key == "model" else ""))
    system, *rest = _EXAMPLE.split(text[found.end() :] if found else text)
    pairs = [(rest[i], rest[i + 1].strip()) for i in range(0, len(rest), 2)]
    examples = [
        Example(said, answer)
        for (kind, said), (other, answer) in pairwise(pairs)
        if (kind, other) == ("INPUT", "OUTPUT")
    ]
    if _INPUT in system:
        remarks.add(
            f"its prompt is built around {_INPUT}; hermes sends it as a system prompt before what you say"
        )
        system = system.replace(_INPUT, "what the user says")
    name = facts.get("name")
    return Persona(
        name=name if isinstance(name, str) and name.strip() else source.stem,
        system=system.strip(),
        source=source,
        examples=tuple(examples),
        options=sampling.options(
            [(key, facts[key]) for key in _OPTIONS if facts.get(key) is not None], remarks
        ),
    )
