"""Reads and writes the regex scripts of SillyTavern, in a character card or in a file of their own.

Source: SillyTavern's `public/scripts/extensions/regex`, for the fields and for the meaning of old values.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Persona
from hermes_cli.personas.regex_script import (
    MAX_DEPTH,
    MAX_SCRIPTS,
    MAX_TRIMMED,
    FindMacros,
    RegexScript,
    Target,
)
from hermes_cli.untrusted.value import Value

KEY: Final = "regex_scripts"
"""The key in the extensions of a card."""
OFF_HINT: Final = "regex_scripts = false in the config file, or /regex off, turns them off"
_PLACEMENTS: Final[Mapping[int, Target]] = {
    1: Target.USER,
    2: Target.ANSWER,
    3: Target.COMMAND,
    5: Target.LORE,
    6: Target.REASONING,
}
_OLD_DISPLAY: Final = 0
_OLD_COMMAND: Final = 4
_NUMBERS: Final = {target: number for number, target in _PLACEMENTS.items()}
_MACROS: Final = tuple(FindMacros)
_TEXT_KEYS: Final = {"name": "scriptName", "find": "findRegex", "replace": "replaceString"}
_FLAG_KEYS: Final = {"display": "markdownOnly", "prompt": "promptOnly", "on_edit": "runOnEdit"}
_DEPTH_KEYS: Final = {"min_depth": ("minDepth", -1), "max_depth": ("maxDepth", 0)}


def is_script(document: Any) -> bool:
    """Return whether a JSON value is a regex script that SillyTavern has exported."""
    is_table = isinstance(document, dict) and isinstance(document.get("findRegex"), str)
    return is_table and "replaceString" in document


def read_file(document: Any, source: Path, remarks: Remarks) -> Persona:
    """Return a persona that consists of the script, or the list of scripts, in a file."""
    tables = document if isinstance(document, list) else [document]
    return Persona(source.stem, "", source, regex=read(Value({KEY: tables}, remarks).get(KEY), remarks))


def read(scripts: Value, remarks: Remarks) -> tuple[RegexScript, ...]:
    """Return the first MAX_SCRIPTS scripts in a list, and add a remark about them."""
    tables = scripts.tables() if scripts.value else []
    if len(tables) > MAX_SCRIPTS:
        remarks.add(f"only the first {MAX_SCRIPTS} of its {len(tables):,} regex scripts are used")
    found = tuple(_script(table) for table in tables[:MAX_SCRIPTS])
    if found:
        count = "1 regex script changes" if len(found) == 1 else f"{len(found):,} regex scripts change"
        remarks.add(f"{count} the text of messages; {OFF_HINT}")
    unused = {Target.COMMAND, Target.REASONING}
    if any(script.enabled and script.targets and unused.issuperset(script.targets) for script in found):
        remarks.add("regex scripts for slash commands or reasoning only are kept but not used")
    return found


def write(raw: Any, old: Sequence[RegexScript], new: Sequence[RegexScript]) -> list[Any]:
    """Return a card's list of scripts with the changes in `new`. `old` are the scripts in `raw`.

    An old script is recognized by its name, or else its expression; its unknown keys are preserved.
    """
    values = list(raw.values()) if isinstance(raw, dict) else raw if isinstance(raw, list) else []
    tables = [value for value in values if isinstance(value, dict)]
    rest = list(zip(old, tables, strict=False))
    result = list[Any]()
    for script in new:
        equal = (pair for pair in rest if pair[0] == script)
        named = (pair for pair in rest if pair[0].title == script.title)
        found = next(equal, None) or next(named, None)
        if found:
            rest.remove(found)
        before, table = found or (None, {})
        result.append(table | _changed_keys(before, script))
    return result + tables[len(old) :]


def _script(table: Value) -> RegexScript:
    placement, is_old_display = _placement(table.get("placement"))
    texts: dict[str, Any] = {field: table.get(key).text() for field, key in _TEXT_KEYS.items()}
    flags: dict[str, Any] = {
        field: table.get(key).boolean() or is_old_display for field, key in _FLAG_KEYS.items()
    }
    if is_old_display:
        flags["on_edit"] = table.get("runOnEdit").boolean()
    trimmed = tuple(text for text in table.get("trimStrings").texts() if text)
    return RegexScript(
        **texts,
        **flags,
        enabled=not table.get("disabled").boolean(),
        targets=placement,
        trim=trimmed[:MAX_TRIMMED],
        find_macros=_find_macros(table.get("substituteRegex").value),
        min_depth=_depth(table, "min_depth"),
        max_depth=_depth(table, "max_depth"),
    )


def _placement(value: Value) -> tuple[tuple[Target, ...], bool]:
    """Return the targets, and whether the list has the old number for a change of the display only."""
    numbers = [_number(item) for item in value.items()] if value.value is not None else []
    is_old_display = _OLD_DISPLAY in numbers
    if is_old_display and len(numbers) == 1:
        return tuple(_PLACEMENTS.values()), True
    numbers = [_NUMBERS[Target.COMMAND] if number == _OLD_COMMAND else number for number in numbers]
    known = (_PLACEMENTS[number] for number in numbers if number is not None and number in _PLACEMENTS)
    return tuple(dict.fromkeys(known)), is_old_display


def _number(item: Value) -> int | None:
    return item.integer_or_none(0, MAX_DEPTH)


def _find_macros(value: Any) -> FindMacros:
    number = int(value) if isinstance(value, bool | int) else 0
    return _MACROS[number] if 0 <= number < len(_MACROS) else FindMacros.UNCHANGED


def _depth(table: Value, field: str) -> int | None:
    """Return a limit of the depth. SillyTavern ignores one that is not a number or too small."""
    key, least = _DEPTH_KEYS[field]
    value = table.value.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and least <= value <= MAX_DEPTH else None


def _changed_keys(old: RegexScript | None, new: RegexScript) -> dict[str, Any]:
    before, after = _card_keys(old) if old else {}, _card_keys(new)
    return {key: value for key, value in after.items() if key not in before or before[key] != value}


def _card_keys(script: RegexScript) -> dict[str, Any]:
    fields = {**_TEXT_KEYS, **_FLAG_KEYS} | {field: key for field, (key, _) in _DEPTH_KEYS.items()}
    return {key: getattr(script, field) for field, key in fields.items()} | {
        "trimStrings": list(script.trim),
        "placement": [_NUMBERS[target] for target in script.targets],
        "disabled": not script.enabled,
        "substituteRegex": _MACROS.index(script.find_macros),
    }
