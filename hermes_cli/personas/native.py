"""hermes' own persona format: one TOML file.

It knows the keys, their types, and how to say what is wrong with them. It refuses to know folders and how
a file's bytes were read.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.options import OptionError, check_value, suggestion
from hermes_cli.personas.persona import Example, Persona

_TEXT_KEYS: Final = ("name", "description", "system", "greeting", "user")
_KEYS: Final = (*_TEXT_KEYS, "examples", "options")
_EXAMPLE_KEYS: Final = ("user", "assistant")

_MAX_TOML_WORK: Final = 100_000_000  # about a second
_AT_END: Final = "(at end of document)"


def parse(text: str, source: Path) -> Persona:
    """Return the persona that the TOML `text` describes. `source` is named in errors.

    Raises PersonaError for whatever is wrong with it.
    """
    table = _parse_toml(text, source)
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


def _parse_toml(text: str, source: Path) -> dict[str, Any]:
    if _toml_work(text) > _MAX_TOML_WORK:
        raise PersonaError(f"{source}: a line of it holds too many dots", "break the line, or shorten it")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = text.count("\n") + 1
        column = len(text) - text.rfind("\n")
        problem = str(error).replace(_AT_END, f"(at line {line}, column {column}, the end of the file)")
        raise PersonaError(
            f"{source} is not valid TOML: {problem}",
            "texts stand in quotes, long ones between three; the format is at https://toml.io",
        ) from None
    except (RecursionError, ValueError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        raise PersonaError(
            f"{source}: {problem}", "a persona needs neither depth nor large numbers"
        ) from None


def _toml_work(text: str) -> int:
    """Return a bound for tomllib's work on dotted keys, from the dots that could be one.

    It is the square of a key's length, and a table header's length again for each line below it: without a
    limit, 1 MB of "a.a.a" would keep it busy for half an hour.
    """
    dots = [line.count(".") for line in text.split("\n")]
    return sum(n * n for n in dots) + 10 * max(dots) * len(dots)


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
    result: dict[str, Any] = {}
    for key, given in value.items():
        name = key.replace("-", "_")
        if name in result:
            raise PersonaError(f"{source}, [options]: '{name}' is there twice", "take one of them out")
        try:
            result[name] = check_value(name, given)
        except OptionError as error:
            raise PersonaError(f"{source}, [options]: {error}", "`hermes ask --help` has them all") from None
    return MappingProxyType(result)


def _kind(value: Any) -> str:
    """Return what TOML calls a value of this type."""
    kinds = {
        bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"
    }  # fmt: skip
    return kinds.get(type(value), "a date or time")
