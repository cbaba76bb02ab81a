"""Templates: `{{input}}` and variables such as `{{language}}` in a persona's system prompt and `prompt`.

In a chat, `prompt` is a part of the system prompt, and `{{input}}` has no value.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from hermes_cli.errors import UsageError
from hermes_cli.personas.macros import FIXED_MACROS, Macros
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.deadline import Deadline

INPUT: Final = "input"
"""The variable for the text of the prompt."""
IN_A_CHAT: Final = "what the user says"
"""Replaces `{{input}}` in a chat, where the system prompt precedes the user's messages."""
_TEXTS: Final = ("system", "character", "personality", "scenario", "prompt")
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PLACEHOLDER: Final = re.compile(rf"\{{\{{\s*({_NAME.pattern})\s*\}}\}}", re.ASCII)


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a variable; the names of macros cannot."""
    return _NAME.fullmatch(text) is not None and text.lower() not in FIXED_MACROS


def names(texts: Iterable[str]) -> set[str]:
    """Return the names of the variables in texts, with `input`."""
    return {name for text in texts for name in _PLACEHOLDER.findall(text) if is_name(name)}


def variables(persona: Persona) -> set[str]:
    """Return the names of the variables in a persona, with `input`. A verbatim persona has none."""
    return set() if persona.verbatim else names(getattr(persona, field) for field in _TEXTS)


def is_template(persona: Persona) -> bool:
    """Return whether the persona needs values for its variables. A card only has unknown macros."""
    return bool(persona.prompt or persona.variables or INPUT in variables(persona))


def system_variables(persona: Persona) -> set[str]:
    """Return the names of the variables in a persona's system prompt."""
    return variables(persona._replace(prompt=""))


def takes_input(persona: Persona) -> bool:
    """Return whether the persona needs the text of a prompt: it has no `prompt`, or one with `{{input}}`."""
    return not persona.prompt or INPUT in variables(persona)


def values(persona: Persona, assignments: Sequence[str], text: str) -> dict[str, str]:
    """Return the values of the variables. `assignments` are those of --var, and `text` is that of the prompt.

    Raises UsageError if an assignment is invalid or not used, or if a variable has no value. The latter is
    checked only if there are assignments or the persona is a template, since a card may have unknown macros.
    """
    given = dict(map(_assignment, assignments))
    used = variables(persona)
    if unused := [name for name in given if name not in used]:
        known = ", ".join(sorted(used - {INPUT}))
        raise UsageError(
            f"--var {unused[0]}: the persona '{persona.key}' has no {{{{{unused[0]}}}}}",
            f"its variables are {known}" if known else "it has no variables",
        )
    missing = sorted(used - {INPUT, *given, *persona.variables})
    if missing and (given or is_template(persona)):
        places = ", ".join(f"{{{{{name}}}}}" for name in missing)
        raise UsageError(
            f"the persona '{persona.key}' has no value for {places}", f"add --var {missing[0]}=VALUE"
        )
    return {**persona.variables, **given, INPUT: text}


def _assignment(text: str) -> tuple[str, str]:
    """Return the name and the value in `name=value`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise UsageError(f"--var takes NAME=VALUE, not '{text[:40]}'", "for example --var language=French")
    if not is_name(name) or name == INPUT:
        raise UsageError(
            f"--var cannot set {name}",
            "it is the text of the prompt" if name == INPUT else "it is the name of a macro",
        )
    return name, value


def user_turn(persona: Persona, macros: Macros, filled: Mapping[str, str]) -> str:
    """Return the user's turn: the persona's `prompt` with the values, or the text without a `prompt`.

    If `prompt` does not contain `{{input}}`, the text follows it. Raises UsageError if there are too many
    macros.
    """
    text = filled[INPUT]
    if not persona.prompt or persona.verbatim:
        return text
    deadline = Deadline()
    prompt = replace(macros, template_values=filled).fill(persona.prompt, "prompt", deadline=deadline)
    if deadline.skipped:
        raise UsageError(f"the prompt of the persona '{persona.key}' has too many macros", "shorten it")
    return prompt if INPUT in names([persona.prompt]) or not text else f"{prompt}\n\n{text}"


def used_assignments(persona: Persona, assignments: Sequence[str]) -> list[str]:
    """Return the assignments of --var whose variables are in the persona."""
    used = variables(persona)
    return [text for text in assignments if text.partition("=")[0] in used]


def chat_values(persona: Persona, assignments: Sequence[str]) -> dict[str, str]:
    """Return the values of the variables in a chat, where `{{input}}` has none.

    Raises UsageError as `values` does.
    """
    found = values(persona, assignments, "")
    del found[INPUT]
    return found


def without_prompt(persona: Persona, given: Mapping[str, str] = MappingProxyType({})) -> Persona:
    """Return the persona for a chat or another program: its `prompt` is a part of the system prompt.

    Variables have their default values, but those in `given` are left unchanged. `{{input}}` becomes words.
    """
    if persona.verbatim or not (persona.prompt or variables(persona)):
        return persona
    known = {name: text for name, text in persona.variables.items() if name not in given}
    known[INPUT] = IN_A_CHAT

    def filled(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), text)

    texts = {field: filled(getattr(persona, field)) for field in _TEXTS}
    parts = (texts["system"], texts.pop("prompt"))
    texts["system"] = "\n\n".join(part.strip() for part in parts if part.strip()) if parts[1] else parts[0]
    return persona._replace(**texts, prompt="", variables={})  # type: ignore[arg-type]
