"""llm's templates, text-generation-webui's characters and LM Studio's presets."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import presets
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.untrusted import yaml_parser
from hermes_cli.untrusted.source import Source

SOURCE = Path("some.yaml")


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text."""
    return yaml_parser.parse(text.encode(), Source(str(SOURCE), PersonaError))


def test_an_llm_template_is_read_and_its_functions_are_not_run() -> None:
    """The prompt, defaults and options of a template are read, and its functions are not run."""
    document = parse_yaml(
        "model: gpt-4o\nsystem: You speak like an excitable ${who} explorer, for $$5\n"
        "prompt: 'Summarize: $input'\noptions:\n  temperature: 0.3\n  frequency_penalty: 1\n"
        "defaults:\n  who: Victorian\nfunctions: |\n  raise SystemExit\n"
    )
    assert presets.is_llm(document)
    remarks = Remarks()
    persona = presets.read_llm(document, SOURCE, remarks)
    assert persona.system == "You speak like an excitable {{who}} explorer, for $5"
    assert persona.prompt == "Summarize: {{input}}"
    assert dict(persona.variables) == {"who": "Victorian"}
    assert dict(persona.options) == {"temperature": 0.3}
    assert persona.name == "some"
    assert remarks.summary() == (
        "'model' is left out",
        "'functions' is left out; code is never run",
        (
            "it has a prompt: `hermes ask` sends it as the user's message; "
            "in a chat, it is a part of the system prompt"
        ),
        "the option 'frequency_penalty' is left out: hermes has no such option",
    )


def test_a_character_of_text_generation_webui_is_read() -> None:
    """The context is the character and the greeting is kept; unknown keys are remarked on."""
    document = parse_yaml(
        "name: Chiharu\ngreeting: |-\n  *{{char}} waves*\n  Hi {{user}}!\ncontext: |\n  A nerd.\nxyz: 1\n"
    )
    assert presets.is_webui(document)
    assert not presets.is_llm(document)
    remarks = Remarks()
    persona = presets.read_webui(document, SOURCE, remarks)
    assert (persona.name, persona.character) == ("Chiharu", "A nerd.")
    assert persona.greetings == ("*{{char}} waves*\nHi {{user}}!",)
    assert remarks.summary() == ("'xyz' is left out: hermes does not use it",)


def test_a_character_in_the_older_format_of_pygmalion_is_read() -> None:
    """A character in Pygmalion's older format is read."""
    document = {
        "char_name": "Chiharu",
        "char_persona": "A nerd.",
        "char_greeting": "Hi",
        "world_scenario": "A lab",
        "example_dialogue": "You: Hey\nChiharu: Ho\nYou: x",
    }
    assert presets.is_webui(document)
    persona = presets.read_webui(document, SOURCE, Remarks())
    assert (persona.character, persona.scenario, persona.greetings) == ("A nerd.", "A lab", ("Hi",))
    assert persona.dialogue == "{{user}}: Hey\nChiharu: Ho\n{{user}}: x"


def test_a_new_and_an_old_preset_of_lm_studio_are_read() -> None:
    """The prompt and the enabled options are read, from the new format and from the old one."""
    document = json.loads("""{"identifier": "@local:pirate", "name": "Pirate", "operation": {"fields": [
        {"key": "llm.prediction.systemPrompt", "value": "Arr."},
        {"key": "llm.prediction.temperature", "value": 0.2},
        {"key": "llm.prediction.topKSampling", "value": 12},
        {"key": "llm.prediction.repeatPenalty", "value": {"checked": true, "value": 1.2}},
        {"key": "llm.prediction.maxPredictedTokens", "value": {"checked": false, "value": 9}},
        {"key": "llm.prediction.stopStrings", "value": ["END"]},
        {"key": "llm.load.contextLength", "value": 4096}]}, "load": {"fields": []}}""")
    assert presets.is_lmstudio(document)
    remarks = Remarks()
    persona = presets.read_lmstudio(document, SOURCE, remarks)
    assert (persona.name, persona.system) == ("Pirate", "Arr.")
    assert dict(persona.options) == {
        "temperature": 0.2,
        "top_k": 12,
        "repetition_penalty": 1.2,
        "stop": ("END",),
    }
    assert remarks.summary() == ("'llm.load.contextLength' is left out: hermes does not use it",)
    old = {"name": "Old", "inference_params": {"pre_prompt": "Arr.", "temp": 99}}
    assert presets.is_lmstudio(old)
    remarks = Remarks()
    assert presets.read_lmstudio(old, SOURCE, remarks).system == "Arr."
    assert "it can be 0 to 5" in remarks.summary()[0]


@pytest.mark.parametrize("name", ["rep_pen_range", "repetition_penalty_range", "repetition_range"])
@pytest.mark.parametrize(("value", "expected"), [(512, 512), (0, 0), (-1, 0)])
def test_the_range_of_the_repetition_penalty_is_read(name: str, value: int, expected: int) -> None:
    """Other programs' names of the range are read; 0 and -1 are the whole context."""
    document = {"system": "Hi", "options": {name: value, "rep_pen": 1.2}}
    persona = presets.read_llm(document, SOURCE, Remarks())
    assert dict(persona.options) == {"repetition_range": expected, "repetition_penalty": 1.2}


@given(
    st.text()
    | st.lists(st.sampled_from(["a", ": ", "- ", "\n", "  ", "|", ">", "&x", "*x", "!", "?", "["])).map(
        "".join
    )
)
def test_any_text_is_read_as_yaml_or_is_a_persona_error(text: str) -> None:
    """Any text is read as YAML, or is a PersonaError."""
    try:
        document = parse_yaml(text)
    except PersonaError:
        return
    if isinstance(document, dict):
        formats = ((presets.is_llm, presets.read_llm), (presets.is_webui, presets.read_webui))
        read = [
            read_format(document, SOURCE, Remarks()) for matches, read_format in formats if matches(document)
        ]
        assert all(persona.name and persona.source == SOURCE for persona in read)
