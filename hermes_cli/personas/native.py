"""hermes' own persona format: one TOML file.

It knows the keys, their types, and how to say what is wrong with them. It refuses to know folders and how
a file's bytes were read.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.options import OptionError, check_table, suggestion
from hermes_cli.personas.persona import Example, Persona
from hermes_cli.textfiles import parse_toml

_TEXT_KEYS: Final = ("name", "description", "system", "greeting", "user")
_KEYS: Final = (*_TEXT_KEYS, "examples", "options")
_EXAMPLE_KEYS: Final = ("user", "assistant")


def parse(text: str, source: Path) -> Persona:
    """Return the persona that the TOML `text` describes. `source` is named in errors.

    Raises PersonaError for whatever is wrong with it.
    """
    table = parse_toml(text, source, PersonaError)
    _refuse_unknown(table, _KEYS, "", source)
    texts: dict[str, str] = {key: _text(table[key], key, source) for key in _TEXT_KEYS if key in table}
    if "system" not in texts:
        raise PersonaError(
            f"{source}: it has no 'system', the prompt that makes the character",
            'add a line such as: system = "You are ..."',
        )
    _refuse_unusable(texts, source)
    return Persona(
        name=texts.get("name", source.stem),
        system=texts["system"],
        source=source,
        description=texts.get("description", ""),
        greeting=texts.get("greeting"),
        user=texts.get("user"),
        examples=_examples(table.get("examples", []), source),
        options=_options(table.get("options", {}), source),
    )


def _refuse_unknown(table: Mapping[str, Any], known: tuple[str, ...], where: str, source: Path) -> None:
    for key in table:
        if key not in known:
            raise PersonaError(
                f"{source}: there is no key '{key[:60]}'{where}{suggestion(key[:60], known)}",
                f"the keys are {', '.join(known)}",
            )


def _text(value: Any, key: str, source: Path) -> str:
    if not isinstance(value, str):
        raise PersonaError(f"{source}: '{key}' is {_kind(value)}; it takes a text", f'write {key} = "..."')
    if "\0" in value:
        raise PersonaError(f"{source}: '{key}' holds a NUL character", "take it out; no text needs one")
    return value


def _refuse_unusable(texts: Mapping[str, str], source: Path) -> None:
    for key in ("name", "system", "user", "greeting"):
        if key in texts and not texts[key].strip():
            raise PersonaError(f"{source}: '{key}' is empty", "fill it in, or take the line out")
    for key in ("name", "user"):
        if len(texts.get(key, "").splitlines()) > 1:
            raise PersonaError(f"{source}: '{key}' is more than one line", "a name is one line")


def _examples(value: Any, source: Path) -> tuple[Example, ...]:
    hint = 'write [[examples]], then user = "..." and assistant = "..."'
    if not isinstance(value, list):
        raise PersonaError(f"{source}: 'examples' is {_kind(value)}; it takes tables", hint)
    result = []
    for number, table in enumerate(value, 1):
        if not isinstance(table, dict):
            raise PersonaError(f"{source}: example {number} is {_kind(table)}; it takes a table", hint)
        _refuse_unknown(table, _EXAMPLE_KEYS, f" in example {number}", source)
        for key in _EXAMPLE_KEYS:
            if key not in table:
                raise PersonaError(f"{source}: example {number} has no '{key}'", hint)
        result.append(Example(*(_text(table[key], f"examples.{key}", source) for key in _EXAMPLE_KEYS)))
    return tuple(result)


def _options(value: Any, source: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PersonaError(f"{source}: 'options' is {_kind(value)}; it takes a table", "write [options]")
    try:
        return MappingProxyType(check_table(value))
    except OptionError as error:
        raise PersonaError(f"{source}, [options]: {error}", "`hermes ask --help` has them all") from None


def _kind(value: Any) -> str:
    """Return what TOML calls a value of this type."""
    kinds = {
        bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"
    }  # fmt: skip
    return kinds.get(type(value), "a date or time")
