"""Reads other programs' characters and prompts in JSON or YAML.

- Presets of LM Studio, in the current and the older format. Source: files written by LM Studio.
  `operation.fields[]` holds `{key, value}`; the value of an optional number is `{checked, value}`.
- Characters of text-generation-webui: YAML with name, greeting and context. The older JSON format is
  Pygmalion's, in which the user is called You. Source: character files of that program.
- Templates of the `llm` tool: YAML with a system prompt and a prompt that may contain `$input`. Source: llm's
  "Prompt templates". Code in a template (`functions`) is never run.
"""

import re
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas import template
from hermes_cli.personas.formats import sampling
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.value import Value

PROMPT_REMARK: Final = (
    "`hermes ask` sends it as the user's message; in a chat, it is a part of the system prompt"
)
"""The remark about the prompt of a template."""
_PREFIX: Final = "llm.prediction."
_YOU: Final = re.compile(r"^You:", re.MULTILINE)
_OLD_WEBUI_KEYS: Final = ("char_name", "char_persona", "char_greeting")
_WEBUI_KEYS: Final = {
    *("name", "bot", "greeting", "context", "example_dialogue", "user", "your_name", "user_bio"),
    *(*_OLD_WEBUI_KEYS, "world_scenario"),
}
_VARIABLE: Final = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_LLM_KEYS: Final = ("system", "prompt", "options", "defaults", "name")
_UNUSED_LLM_KEYS: Final = (
    *("model", "schema_object", "fragments", "system_fragments", "attachments", "attachment_types"),
    *("extract", "extract_last", "tools", "functions"),
)


def is_lmstudio(document: dict[str, Any]) -> bool:
    """Return whether a JSON document is a preset of LM Studio."""
    operation = document.get("operation")
    is_new = isinstance(operation, dict) and isinstance(operation.get("fields"), list)
    return is_new or isinstance(document.get("inference_params"), dict)


def read_lmstudio(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona in a preset of LM Studio."""
    table = Value(document, remarks)
    options = dict[str, Any](table.get("inference_params").table().value)
    system = options.pop("pre_prompt", "")
    for field in table.get("operation").table().get("fields").tables():
        key = field.get("key").text()
        value = field.value.get("value")
        if isinstance(value, dict) and "checked" in value:
            if not value["checked"]:
                continue
            value = value.get("value")
        if key == f"{_PREFIX}systemPrompt":
            system = value
        elif key.startswith(_PREFIX):
            options[key.removeprefix(_PREFIX)] = value
        else:
            remarks.add(f"'{key[:60]}' is left out: hermes does not use it")
    return Persona(
        name=table.get("name").line() or source.stem,
        system=Value({"system": system}, remarks).get("system").text().strip(),
        source=source,
        options=sampling.options(options.items(), remarks),
    )


def is_webui(document: dict[str, Any]) -> bool:
    """Return whether a document is a character of text-generation-webui, in either format."""
    if any(isinstance(document.get(key), str) for key in _OLD_WEBUI_KEYS):
        return True
    is_named = isinstance(document.get("name", document.get("bot")), str)
    return is_named and any(isinstance(document.get(key), str) for key in ("context", "greeting"))


def read_webui(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona in a character of text-generation-webui."""
    table = Value(document, remarks)
    for key in document:
        if key not in _WEBUI_KEYS:
            remarks.add(f"'{str(key)[:60]}' is left out: hermes does not use it")
    is_old = any(key in document for key in _OLD_WEBUI_KEYS)
    greeting = table.get("char_greeting" if is_old else "greeting").text()
    dialogue = table.get("example_dialogue").text()
    names = (table.get(key).line() for key in ("char_name", "name", "bot"))
    return Persona(
        name=next(filter(None, names), source.stem),
        system="",
        source=source,
        character=table.get("char_persona" if is_old else "context").text().strip(),
        scenario=table.get("world_scenario").text().strip(),
        greetings=(greeting,) if greeting.strip() else (),
        dialogue=_YOU.sub("{{user}}:", dialogue) if is_old else dialogue,
        user=table.get("your_name").line() or table.get("user").line() or None,
    )


def is_llm(document: dict[str, Any]) -> bool:
    """Return whether a YAML document is a template of llm."""
    has_prompt = any(isinstance(document.get(key), str) for key in ("system", "prompt"))
    return has_prompt and all(key in {*_LLM_KEYS, *_UNUSED_LLM_KEYS} for key in document)


def read_llm(document: dict[str, Any], source: Path, remarks: Remarks) -> Persona:
    """Return the persona in a template of llm."""
    table = Value(document, remarks)
    defaults = {str(key): str(value) for key, value in table.get("defaults").table().value.items()}
    defaults = {key: value for key, value in defaults.items() if template.is_name(key)}
    defaults.pop(template.INPUT, None)
    prompt = table.get("prompt").text()
    for key in document:
        if key not in _LLM_KEYS:
            remarks.add(f"'{key}' is left out" + ("; code is never run" if key == "functions" else ""))
    if prompt:
        remarks.add(f"it has a prompt: {PROMPT_REMARK}")
    options = table.get("options").table().value
    return Persona(
        name=table.get("name").line() or source.stem,
        system=_with_placeholders(table.get("system").text()).strip(),
        prompt=_with_placeholders(prompt).strip(),
        source=source,
        variables=defaults,
        options=sampling.options(((str(key), value) for key, value in options.items()), remarks),
    )


def _with_placeholders(text: str) -> str:
    """Return the text with `{{name}}` for each `$name` and `${name}`, and `$` for `$$`."""
    return _VARIABLE.sub(lambda match: "$" if match[1] else f"{{{{{match[2] or match[3]}}}}}", text)
