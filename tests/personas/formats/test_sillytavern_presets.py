"""SillyTavern's presets for the system prompt, for instruct mode and for the context."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from hermes_cli.personas.formats import registry
from hermes_cli.personas.formats.sillytavern_presets import merged
from hermes_cli.personas.persona import Persona
from hermes_cli.personas.regex_script import RegexScript

SOURCE = Path("preset.json")
PROMPT = {"name": "Actor", "content": "Play {{char}}.\n", "post_history": "Stay in character."}
CHATML: dict[str, Any] = {
    "input_sequence": "<|im_start|>user",
    "output_sequence": "<|im_start|>assistant",
    "last_output_sequence": "",
    "system_sequence": "<|im_start|>system",
    "stop_sequence": "<|im_end|>",
    "wrap": True,
    "macro": True,
    "names_behavior": "always",
    "output_suffix": "<|im_end|>\n",
    "input_suffix": "<|im_end|>\n",
    "system_suffix": "<|im_end|>\n",
    "system_same_as_user": False,
    "name": "ChatML",
}
STORY = (
    "<|im_start|>system\n{{#if system}}{{system}}\n{{/if}}{{#if wiBefore}}{{wiBefore}}\n{{/if}}"
    "{{#if description}}{{description}}\n{{/if}}{{#if personality}}{{char}}'s personality: {{personality}}\n"
    "{{/if}}{{#if scenario}}Scenario: {{scenario}}\n{{/if}}{{#if wiAfter}}{{wiAfter}}\n{{/if}}{{#if persona}}"
    "{{persona}}\n{{/if}}{{trim}}<|im_end|>"
)
CONTEXT: dict[str, Any] = {"story_string": STORY, "example_separator": "", "chat_start": "", "name": "ChatML"}


def read(document: dict[str, Any]) -> tuple[Persona, list[str]]:
    """Return the persona in a preset, and the remarks."""
    result = registry.read(json.dumps(document).encode(), SOURCE)
    assert result.persona
    assert result.kind == "preset"
    return result.persona, list(result.remarks)


def test_a_system_prompt() -> None:
    """Its content and its post-history instructions are used, and nothing is left out."""
    persona, remarks = read(PROMPT)
    assert (persona.name, persona.system, persona.post_history) == (
        "Actor",
        "Play {{char}}.",
        "Stay in character.",
    )
    assert remarks == []
    assert read({"name": "Blank", "content": ""})[1] == ["its system prompt is empty"]


def test_an_instruct_preset_for_chatml_changes_nothing() -> None:
    """Its sequences are those of hermes' prompts."""
    persona, remarks = read(CHATML)
    assert (persona.system, dict(persona.options)) == ("", {})
    assert remarks == ['names_behavior is always: in hermes, it is the setting names = "always"']


@pytest.mark.parametrize(
    ("changes", "stop", "left_out"),
    [
        ({"input_sequence": "### Instruction:"}, (), "input_sequence"),
        ({"stop_sequence": "</s>"}, ("</s>",), ""),
        ({"stop_sequence": "\n{{user}}:"}, (), "stop_sequence"),
        ({"stop_sequence": ""}, (), ""),
        ({"skip_examples": True, "future": {"a": 1}}, (), "skip_examples, future"),
    ],
)
def test_an_instruct_preset_of_another_format(
    changes: dict[str, Any], stop: tuple[str, ...], left_out: str
) -> None:
    """Its stop sequence is used; what means nothing here gets a remark."""
    persona, remarks = read(CHATML | changes)
    assert persona.options.get("stop", ()) == stop
    expected = f"left out: {left_out}; hermes uses the prompt format of the model"
    assert [remark for remark in remarks if remark.startswith("left out")] == ([expected] if left_out else [])


@pytest.mark.parametrize(
    ("changes", "remarks"),
    [
        ({}, []),
        (
            {"story_string": "{{description}}\n{{system}}"},
            ["the order in its story_string is not used: description, system"],
        ),
        ({"story_string": STORY + "### Go:"}, ["text in its story_string is left out: ### Go:"]),
        (
            {"single_line": True, "chat_start": "***"},
            ["left out: chat_start, single_line; hermes has no such setting"],
        ),
    ],
)
def test_a_context_preset(changes: dict[str, Any], remarks: list[str]) -> None:
    """Only another order, other text and other settings get a remark."""
    assert read(CONTEXT | changes)[1] == remarks


def test_a_master_export_has_several_presets() -> None:
    """Each of its parts is read, and the others get a remark."""
    document = {
        "instruct": CHATML | {"stop_sequence": "</s>"},
        "context": CONTEXT,
        "sysprompt": PROMPT,
        "preset": {"temp": 1},
    }
    persona, remarks = read(document)
    assert (persona.name, persona.system, persona.options["stop"]) == ("preset", "Play {{char}}.", ("</s>",))
    assert remarks[-1] == "left out: preset"


def test_a_preset_changes_only_its_fields() -> None:
    """Stop strings and scripts are added once; an empty system prompt does not replace one."""
    script = RegexScript("/a/", "b")
    persona = Persona("Ada", "Be Ada.", SOURCE, options=MappingProxyType({"stop": ("x",), "seed": 1}))
    preset = Persona("P", "", SOURCE, options=MappingProxyType({"stop": ("y", "x")}), regex=(script,))
    new = merged(preset, merged(preset, persona))
    assert (new.name, new.system, new.regex) == ("Ada", "Be Ada.", (script,))
    assert new.options == {"stop": ("x", "y"), "seed": 1}


@pytest.mark.parametrize("document", [{"content": "x", "other": 1}, {"content": 1}, {"input_sequence": "x"}])
def test_other_documents_are_no_presets(document: dict[str, Any]) -> None:
    """A file with one similar key may be in any format."""
    with pytest.raises(Exception, match="not in a format that hermes can read"):
        registry.read(json.dumps(document).encode(), SOURCE)
