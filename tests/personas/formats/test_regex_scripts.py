"""Regex scripts in SillyTavern's cards: their fields, old values, and what an export changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.personas import native, native_writer
from hermes_cli.personas.formats import registry
from hermes_cli.personas.persona import Persona
from hermes_cli.personas.regex_script import MAX_SCRIPTS, FindMacros, RegexScript, Target
from tests.personas.formats.cards import CARD

SCRIPT: dict[str, Any] = {
    "id": "4f2a",
    "scriptName": "Hide thoughts",
    "findRegex": "/<think>[\\s\\S]*?<\\/think>/gi",
    "replaceString": " ",
    "trimStrings": ["*", " "],
    "placement": [1, 2, 3, 5, 6],
    "disabled": False,
    "markdownOnly": True,
    "promptOnly": True,
    "runOnEdit": True,
    "substituteRegex": 2,
    "minDepth": 1,
    "maxDepth": 4,
    "theirs": {"deep": None},
}
READ = RegexScript(
    find="/<think>[\\s\\S]*?<\\/think>/gi",
    replace=" ",
    name="Hide thoughts",
    targets=(Target.USER, Target.ANSWER, Target.COMMAND, Target.LORE, Target.REASONING),
    display=True,
    prompt=True,
    on_edit=True,
    trim=("*", " "),
    find_macros=FindMacros.ESCAPED,
    min_depth=1,
    max_depth=4,
)


def card(*scripts: Any) -> bytes:
    """Return a V2 card with these scripts."""
    data = {"name": "Ada", "first_mes": "Hi", "extensions": {"regex_scripts": list(scripts), "fav": True}}
    return json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}).encode()


def read(data: bytes) -> tuple[Persona, str]:
    """Return the persona in a file, and the remarks."""
    result = registry.read(data, CARD)
    assert result.persona
    return result.persona, "; ".join(result.remarks)


def exported(data: bytes, persona: Persona) -> list[Any]:
    """Return the scripts in the card after an export."""
    written = json.loads(registry.write(persona, "v2", data))
    scripts: list[Any] = written["data"]["extensions"]["regex_scripts"]
    return scripts


def test_the_fields_of_a_script() -> None:
    """Each field of SillyTavern has a field here."""
    persona, remarks = read(card(SCRIPT))
    assert persona.regex == (READ,)
    assert "placement" not in remarks
    assert "1 regex script changes the text of messages; regex_scripts = false" in remarks
    assert "kept but not used" not in remarks
    assert "unknown macros" not in remarks


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"disabled": True}, {"enabled": False}),
        ({"minDepth": None, "maxDepth": None}, {"min_depth": None, "max_depth": None}),
        ({"minDepth": -2, "maxDepth": -1}, {"min_depth": None, "max_depth": None}),
        ({"minDepth": "", "maxDepth": 0}, {"min_depth": None, "max_depth": 0}),
        ({"substituteRegex": True}, {"find_macros": FindMacros.FILLED}),
        ({"substituteRegex": 7}, {"find_macros": FindMacros.UNCHANGED}),
        ({"placement": []}, {"targets": ()}),
        ({"placement": [4, 99, "2"]}, {"targets": (Target.COMMAND, Target.ANSWER)}),
        ({"placement": [0, 2], "markdownOnly": False}, {"targets": (Target.ANSWER,), "display": True}),
        ({"placement": [0]}, {"targets": tuple(READ.targets), "display": True, "prompt": True}),
        ({"trimStrings": None, "replaceString": None}, {"trim": (), "replace": ""}),
    ],
)
def test_unusual_values(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """Old placements are converted as SillyTavern does; limits that it ignores are ignored."""
    assert read(card(SCRIPT | changes))[0].regex == (READ._replace(**expected),)


def test_an_unchanged_card_is_exported_as_it_is() -> None:
    """Its bytes are those of the original, also after hermes' own format."""
    data = card(SCRIPT, SCRIPT | {"scriptName": "", "replaceString": "\n", "placement": [2]}, "no script")
    persona, _ = read(data)
    again = native.parse(native_writer.write(persona), Path("ada.toml"))
    assert again.regex == persona.regex
    assert registry.write(persona._replace(regex=again.regex), "v2", data) == data


def test_an_export_changes_only_the_changed_keys() -> None:
    """A script is recognized by its name; unknown keys are kept, and a new script has all keys."""
    other = SCRIPT | {"scriptName": "Other", "id": "2"}
    data = card(SCRIPT, other)
    persona, _ = read(data)
    new = RegexScript("/x/", "y", name="New")
    changed = persona.regex[1]._replace(enabled=False, find="/z/")
    first, second = exported(data, persona._replace(regex=(new, changed)))
    assert second == other | {"disabled": True, "findRegex": "/z/"}
    assert first == {
        "scriptName": "New",
        "findRegex": "/x/",
        "replaceString": "y",
        "trimStrings": [],
        "placement": [2],
        "disabled": False,
        "markdownOnly": False,
        "promptOnly": False,
        "runOnEdit": False,
        "substituteRegex": 0,
        "minDepth": None,
        "maxDepth": None,
    }


def test_the_number_of_scripts_is_limited() -> None:
    """The scripts above the limit are kept in the card."""
    data = card(*(SCRIPT | {"scriptName": str(n)} for n in range(MAX_SCRIPTS + 2)))
    persona, remarks = read(data)
    assert len(persona.regex) == MAX_SCRIPTS
    assert "only the first 100 of its 102 regex scripts are used" in remarks
    assert len(exported(data, persona._replace(regex=persona.regex[1:]))) == MAX_SCRIPTS + 1


@pytest.mark.parametrize("scripts", [None, 7, "x", {"a": SCRIPT}, [[SCRIPT]], {}])
def test_scripts_of_another_type(scripts: Any) -> None:
    """They are ignored with a remark, except an object of scripts."""
    data = {"name": "Ada", "first_mes": "Hi", "extensions": {"regex_scripts": scripts}}
    persona, _ = read(json.dumps({"spec": "chara_card_v2", "data": data}).encode())
    assert persona.regex == ((READ,) if scripts == {"a": SCRIPT} else ())
