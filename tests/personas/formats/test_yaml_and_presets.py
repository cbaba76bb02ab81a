"""llm's templates, text-generation-webui's characters, LM Studio's presets, and hostile YAML."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import llm_template, lmstudio, strict_yaml, webui
from hermes_cli.personas.formats.import_result import Remarks

SOURCE = Path("some.yaml")


def parsed(text: str) -> Any:
    """Return the value of a YAML text."""
    return strict_yaml.parse(text.encode(), SOURCE)


def test_an_llm_template() -> None:
    """The prompt, defaults and options of a template are read, and its functions are not run."""
    document = parsed(
        "model: gpt-4o\nsystem: You speak like an excitable ${who} explorer, for $$5\n"
        "prompt: 'Summarize: $input'\noptions:\n  temperature: 0.3\n  frequency_penalty: 1\n"
        "defaults:\n  who: Victorian\nfunctions: |\n  raise SystemExit\n"
    )
    assert llm_template.is_one(document)
    remarks = Remarks()
    persona = llm_template.read(document, SOURCE, remarks)
    assert persona.system == (
        "You speak like an excitable Victorian explorer, for $5\n\nSummarize: what the user says"
    )
    assert dict(persona.options) == {"temperature": 0.3}
    assert persona.name == "some"
    assert remarks.told() == (
        "'model' is left out",
        "'functions' is left out; code is never run",
        "its prompt is sent as a part of the system prompt, before what you say",
        "the option 'frequency_penalty' is left out: hermes has none of that name",
    )


def test_a_character_of_text_generation_webui() -> None:
    """The context is the character and the greeting is kept; unknown keys are remarked on."""
    document = parsed(
        "name: Chiharu\ngreeting: |-\n  *{{char}} waves*\n  Hi {{user}}!\ncontext: |\n  A nerd.\nxyz: 1\n"
    )
    assert webui.is_one(document)
    assert not llm_template.is_one(document)
    remarks = Remarks()
    persona = webui.read(document, SOURCE, remarks)
    assert (persona.name, persona.character) == ("Chiharu", "A nerd.")
    assert persona.greetings == ("*{{char}} waves*\nHi {{user}}!",)
    assert remarks.told() == ("'xyz' is left out: hermes does not use it",)


def test_an_older_character() -> None:
    """A character in Pygmalion's older format is read."""
    document = {
        "char_name": "Chiharu",
        "char_persona": "A nerd.",
        "char_greeting": "Hi",
        "world_scenario": "A lab",
        "example_dialogue": "You: Hey\nChiharu: Ho\nYou: x",
    }
    assert webui.is_one(document)
    persona = webui.read(document, SOURCE, Remarks())
    assert (persona.character, persona.scenario, persona.greetings) == ("A nerd.", "A lab", ("Hi",))
    assert persona.dialogue == "{{user}}: Hey\nChiharu: Ho\n{{user}}: x"


def test_a_preset_of_lm_studio() -> None:
    """The prompt and the enabled options are read, from the new format and from the old one."""
    document = json.loads("""{"identifier": "@local:pirate", "name": "Pirate", "operation": {"fields": [
        {"key": "llm.prediction.systemPrompt", "value": "Arr."},
        {"key": "llm.prediction.temperature", "value": 0.2},
        {"key": "llm.prediction.topKSampling", "value": 12},
        {"key": "llm.prediction.repeatPenalty", "value": {"checked": true, "value": 1.2}},
        {"key": "llm.prediction.maxPredictedTokens", "value": {"checked": false, "value": 9}},
        {"key": "llm.prediction.stopStrings", "value": ["END"]},
        {"key": "llm.load.contextLength", "value": 4096}]}, "load": {"fields": []}}""")
    assert lmstudio.is_one(document)
    remarks = Remarks()
    persona = lmstudio.read(document, SOURCE, remarks)
    assert (persona.name, persona.system) == ("Pirate", "Arr.")
    assert dict(persona.options) == {
        "temperature": 0.2,
        "top_k": 12,
        "repetition_penalty": 1.2,
        "stop": ("END",),
    }
    assert remarks.told() == ("'llm.load.contextLength' is left out: hermes does not use it",)
    old = {"name": "Old", "inference_params": {"pre_prompt": "Arr.", "temp": 99}}
    assert lmstudio.is_one(old)
    remarks = Remarks()
    assert lmstudio.read(old, SOURCE, remarks).system == "Arr."
    assert "it can be 0 to 5" in remarks.told()[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: &x 1\nb: *x", "an alias or an anchor"),
        ("a: [*x]", "an alias or an anchor"),
        ("a: !!python/object/apply:os.system ['x']", "a tag"),
        ("a: !!binary eA==", "a tag"),
        ("a: 1\na: 2", "there twice"),
        ("[" * 50 + "]" * 50, "nested too deeply"),
        ("a: [", "line 1"),
        ("a: b: c", "line 1, column 5"),
        ("a: \ud800x", "not UTF-8"),
        ("x: " + "a" * (130 << 10), "larger than 128 KiB"),
        ("a: [" + "1," * 10_001 + "]", "too many values"),
        ("a: 2001-99-99", "not YAML"),
        ("a: " + "9" * 5000, "a number that is too long"),
        ("a: " + "1:" * 5000 + "1", "a number that is too long"),
        ("-\n" * 6000, "too many values"),
        ("".join(f"k{n}:\n" for n in range(6000)), "too many values"),
        ("--- a\n--- b", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_yaml_that_is_refused(text: str, what: str) -> None:
    """YAML that is invalid, ambiguous, unsafe or too large is refused with its reason."""
    with pytest.raises(PersonaError, match=what):
        strict_yaml.parse(text.encode("utf-8", "surrogatepass"), SOURCE)


def test_the_largest_yaml_takes_no_longer_than_a_person_waits() -> None:
    """YAML of the largest size is read in less than 5 seconds of CPU time."""
    line = "  Some words of a context, as a character has them, and {{char}} among them.\n"
    text = "context: |\n" + line * (strict_yaml.MAX_BYTES // len(line) - 1)
    began = time.process_time()
    assert len(parsed(text)["context"]) > 100_000
    assert time.process_time() - began < 5


@given(
    st.text()
    | st.lists(st.sampled_from(["a", ": ", "- ", "\n", "  ", "|", ">", "&x", "*x", "!", "?", "["])).map(
        "".join
    )
)
def test_no_yaml_is_more_than_a_mistake(text: str) -> None:
    """Any text is read as YAML, or is a PersonaError."""
    try:
        document = parsed(text)
    except PersonaError:
        return
    if isinstance(document, dict):
        read = [
            one.read(document, SOURCE, Remarks()) for one in (llm_template, webui) if one.is_one(document)
        ]
        assert all(persona.name and persona.source == SOURCE for persona in read)
