"""Reads aichat's roles: Markdown with front matter, and examples under `### INPUT:` and `### OUTPUT:`.

Source: aichat's "Role Guide". A role without front matter, examples and `__INPUT__` is only a system prompt,
which `plain_text.py` reads.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import sampling
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.formats.presets import PROMPT_REMARK
from hermes_cli.personas.persona import Example, Persona
from hermes_cli.untrusted import yaml_parser
from hermes_cli.untrusted.source import Source

_FRONT: Final = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_EXAMPLE: Final = re.compile(r"^### (INPUT|OUTPUT):[ \t]*$", re.MULTILINE)
_INPUT: Final = "__INPUT__"
MAX_LENGTH: Final = 256 << 10
_OPTIONS: Final = ("temperature", "top_p")


def is_aichat(text: str) -> bool:
    """Return whether `text` has front matter, examples or the placeholder of a role."""
    if _FRONT.match(text) or _INPUT in text:
        return True
    return {match[1] for match in _EXAMPLE.finditer(text)} == {"INPUT", "OUTPUT"}


def read(text: str, source: Path, remarks: Remarks) -> Persona:
    """Return the persona in a role. Raises PersonaError if the role is too long or invalid."""
    if len(text) > MAX_LENGTH:
        raise PersonaError(f"{source} is longer than {MAX_LENGTH:,} characters", "shorten it")
    text = remarks.clean((), text)
    front = _FRONT.match(text)
    values: Any = yaml_parser.parse(front[1].encode(), Source(str(source), PersonaError)) if front else {}
    if values is not None and not isinstance(values, dict):
        raise PersonaError(
            f"{source}: the text between the --- lines is not a list of settings",
            "write lines such as: temperature: 0",
        )
    settings = {str(key): value for key, value in (values or {}).items()}
    for key in settings:
        if key not in {*_OPTIONS, "name"}:
            remarks.add(f"'{key[:60]}' is ignored" + ("; choose a model with -m" if key == "model" else ""))
    system, *rest = _EXAMPLE.split(text[front.end() :] if front else text)
    pairs = [(rest[i], rest[i + 1].strip()) for i in range(0, len(rest), 2)]
    examples = [
        Example(question, answer)
        for (kind, question), (other, answer) in pairwise(pairs)
        if (kind, other) == ("INPUT", "OUTPUT")
    ]
    prompt = ""
    if _INPUT in system:
        remarks.add(f"the prompt contains {_INPUT}: {PROMPT_REMARK}")
        system, prompt = "", system.replace(_INPUT, "{{input}}").strip()
    name = settings.get("name")
    return Persona(
        name=name if isinstance(name, str) and name.strip() else source.stem,
        system=system.strip(),
        prompt=prompt,
        source=source,
        examples=tuple(examples),
        options=sampling.options(
            [(key, settings[key]) for key in _OPTIONS if settings.get(key) is not None], remarks
        ),
    )
