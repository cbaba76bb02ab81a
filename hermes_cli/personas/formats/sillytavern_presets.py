"""Reads SillyTavern's presets for the system prompt, for instruct mode and for the context.

Each of them is read as a persona with only some fields, which `hermes personas import --into` adds to another
persona. Sources: the files in SillyTavern's `default/content/presets`, and its master export, which holds one
preset of each type.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats import sampling
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.value import Value

_PROMPT: Final = "sysprompt"
_PARTS: Final = (_PROMPT, "instruct", "context")
_PROMPT_KEYS: Final = frozenset({"name", "content", "post_history"})
_TURN_END: Final = "<|im_end|>"
_CHATML: Final = {
    "input_sequence": "<|im_start|>user",
    "output_sequence": "<|im_start|>assistant",
    "system_sequence": "<|im_start|>system",
    "input_suffix": _TURN_END,
    "output_suffix": _TURN_END,
    "system_suffix": _TURN_END,
    "stop_sequence": _TURN_END,
}
"""The values of an instruct preset for ChatML, which hermes' prompts have already."""
_NAMES: Final = {"none": "never", "force": "groups", "always": "always"}
"""The values of `names_behavior`, and those of hermes' setting `names`."""
_MARK: Final = re.compile(r"\{\{(?:[#/](?:if|unless)[^}]*|else|trim)\}\}")
_FIELD: Final = re.compile(r"\{\{(\w+)\}\}")
_HEADING: Final = re.compile(r"\{\{char\}\}'s personality:|(?:^|\n)Scenario:|<\|im_(?:start\|>system|end\|>)")
_ORDER: Final = ("system", "wiBefore", "description", "personality", "scenario", "wiAfter", "persona")
_SHOWN: Final = 8


def is_preset(document: Mapping[str, Any]) -> bool:
    """Return whether a JSON document is one of these presets, or a master export."""
    return bool(_part_of(document)) or any(_part_of(_part(document, name)) == name for name in _PARTS)


def read(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return a persona with the fields that a preset sets. Those that hermes does not use get a remark."""
    if name := _part_of(document):
        return _READERS[name](Value(document, remarks), source, remarks)
    persona = Persona(source.stem, "", source)
    for name in _PARTS:
        part = _part(document, name)
        if _part_of(part) == name:
            added = _READERS[name](Value(part, remarks), source, remarks)
            persona = merged(added._replace(name=persona.name), persona)
    if rest := sorted(key for key, value in document.items() if key not in _PARTS and value):
        remarks.add(f"left out: {', '.join(key[:30] for key in rest[:_SHOWN])}")
    return persona


def merged(preset: Persona, persona: Persona) -> Persona:
    """Return a persona with the fields that are set in a preset, and its stop strings and scripts added."""
    stops = (*persona.options.get("stop", ()), *preset.options.get("stop", ()))
    options = {**persona.options, **preset.options}
    if stops:
        options["stop"] = tuple(dict.fromkeys(stops))
    return persona._replace(
        system=preset.system or persona.system,
        post_history=preset.post_history or persona.post_history,
        options=options,
        regex=(*persona.regex, *(script for script in preset.regex if script not in persona.regex)),
    )


def _part(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _part_of(document: Mapping[str, Any]) -> str:
    """Return the type of a preset, or an empty string if the document is none."""
    if isinstance(document.get("story_string"), str):
        return "context"
    if isinstance(document.get("input_sequence"), str) and isinstance(document.get("output_sequence"), str):
        return "instruct"
    is_prompt = isinstance(document.get("content"), str) and document.keys() <= _PROMPT_KEYS
    return _PROMPT if is_prompt else ""


def _read_prompt(table: Value, source: Path, remarks: Remarks) -> Persona:
    system, post_history = table.get("content").text().strip(), table.get("post_history").text().strip()
    if not system and not post_history:
        remarks.add("its system prompt is empty")
    return Persona(_name(table, source), system, source, post_history=post_history)


def _read_instruct(table: Value, source: Path, remarks: Remarks) -> Persona:
    stop, names = table.get("stop_sequence").text(), table.get("names_behavior").text()
    is_stop = bool(stop.strip()) and stop.strip() != _TURN_END and "{{" not in stop
    used = {"name", "wrap", "macro", "names_behavior"} | ({"stop_sequence"} if is_stop else set())
    _remark_on_rest(table, used, remarks, "hermes uses the prompt format of the model")
    if names in _NAMES:
        remarks.add(f'names_behavior is {names}: in hermes, it is the setting names = "{_NAMES[names]}"')
    options = sampling.options([("stop", [stop])] if is_stop else (), remarks)
    system = table.get("system_prompt").text().strip()  # in old files
    return Persona(_name(table, source), system, source, options=options)


def _read_context(table: Value, source: Path, remarks: Remarks) -> Persona:
    story = _MARK.sub("", table.get("story_string").text())
    order = [name for name in _FIELD.findall(_HEADING.sub("", story)) if name in _ORDER]
    if order != list(_ORDER):
        remarks.add(f"the order in its story_string is not used: {', '.join(order) or 'it is empty'}")
    if text := " ".join(_FIELD.sub("", _HEADING.sub("", story)).split()):
        remarks.add(f"text in its story_string is left out: {text[:60]}")
    _remark_on_rest(table, {"name", "story_string"}, remarks, "hermes has no such setting")
    return Persona(_name(table, source), "", source)


def _remark_on_rest(table: Value, used: set[str], remarks: Remarks, reason: str) -> None:
    """Add a remark about the keys that are not used, except empty values and those of ChatML."""
    used = used | {"system_prompt"}
    rest = [
        key
        for key, value in table.value.items()
        if key not in used and value and not (isinstance(value, str) and value.strip() == _CHATML.get(key))
    ]
    if rest:
        more = f" and {len(rest) - _SHOWN:,} more" if len(rest) > _SHOWN else ""
        remarks.add(f"left out: {', '.join(key[:30] for key in rest[:_SHOWN])}{more}; {reason}")


def _name(table: Value, source: Path) -> str:
    return table.get("name").line() or source.stem


_READERS: Final[Mapping[str, Callable[[Value, Path, Remarks], Persona]]] = {
    _PROMPT: _read_prompt,
    "instruct": _read_instruct,
    "context": _read_context,
}
