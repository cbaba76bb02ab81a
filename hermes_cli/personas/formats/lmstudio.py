"""Reads LM Studio's presets, in the current and the older format.

Source: files written by LM Studio. `operation.fields[]` holds `{key, value}`; the value of an optional number
is `{checked, value}`.
"""

from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import sampling
from hermes_cli.personas.formats.fields import Fields
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Persona

_PREFIX: Final = "llm.prediction."
_SYSTEM: Final = "systemPrompt"
_OLD_SYSTEM: Final = "pre_prompt"


def is_one(document: dict[str, Any]) -> bool:
    """Return whether a JSON document is a preset."""
    operation, old = document.get("operation"), document.get("inference_params")
    return (isinstance(operation, dict) and isinstance(operation.get("fields"), list)) or isinstance(
        old, dict
    )


def read(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona of a preset."""
    fields = Fields(document, remarks)
    values = dict[str, Any](fields.inner("inference_params").table)
    system = values.pop(_OLD_SYSTEM, "")
    for one in fields.inner("operation").tables("fields"):
        key = Fields(one, remarks).text("key")
        value = one.get("value")
        if isinstance(value, dict) and "checked" in value:
            if not value["checked"]:
                continue
            value = value.get("value")
        if key == _PREFIX + _SYSTEM:
            system = value
        elif key.startswith(_PREFIX):
            values[key.removeprefix(_PREFIX)] = value
        else:
            remarks.add(f"'{key[:60]}' is left out: hermes does not use it")
    said = Fields({"system": system}, remarks).text("system")
    return Persona(
        name=fields.line("name") or source.stem,
        system=said.strip(),
        source=source,
        options=sampling.options(values.items(), remarks),
    )
