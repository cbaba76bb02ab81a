"""System prompts in text and Markdown files: roles without front matter, and patterns of fabric."""

from pathlib import Path

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.personas import native, native_writer
from hermes_cli.personas.formats import registry
from hermes_cli.personas.persona import Persona
from tests.personas.files import start_conversation

PATTERN = """# IDENTITY and PURPOSE

You are an expert in {{char}}.

# OUTPUT INSTRUCTIONS

- Only output Markdown.

"""


def read(text: str, name: str = "role.md") -> Persona:
    """Return the persona in a file with this name."""
    persona = registry.read(text.encode(), Path(name)).persona
    assert persona is not None
    return persona


@pytest.mark.parametrize(
    "text", ["You are {{char}}: brief.", "# Title\n\n- a: b\n", "{a} is not JSON", '{"a": 1}']
)
@pytest.mark.parametrize("name", ["role.md", "role.txt", "ROLE.MD"])
def test_a_text_in_no_other_format_is_the_system_prompt(text: str, name: str) -> None:
    """The text is unchanged, and its macros are not expanded, also after an import."""
    persona = read(text, name)
    again = native.parse(native_writer.write(persona), Path("role.toml"))
    assert [message.text for message in start_conversation(persona).messages] == [text]
    assert start_conversation(again) == start_conversation(persona)


@pytest.mark.parametrize("end", ["# INPUT:\n\nINPUT:\n", "# INPUT\n", "INPUT:", "# Input:\n\nINPUT:"])
def test_the_heading_at_the_end_of_a_pattern_is_left_out(end: str) -> None:
    """In fabric, the user's text follows the heading; here, it is a turn of its own."""
    result = registry.read((PATTERN + end).encode(), Path("patterns/extract_wisdom/system.md"))
    assert result.persona is not None
    expected = PATTERN if "Input" not in end else f"{PATTERN}# Input:"
    assert (result.persona.system.strip(), result.persona.name) == (expected.strip(), "extract_wisdom")
    assert "the heading INPUT" in result.remarks[0]


def test_another_format_in_a_markdown_file_is_recognized() -> None:
    """A role with front matter or examples, a Modelfile and a card keep their formats."""
    role = "Be brief.\n### INPUT:\na\n### OUTPUT:\nb\n"
    assert [(example.user, example.assistant) for example in read(role).examples] == [("a", "b")]
    assert read("Say __INPUT__ again.").prompt == "Say {{input}} again."
    assert read("---\ntemperature: 0.5\n---\nBe brief.").options == {"temperature": 0.5}
    assert read("FROM x\nSYSTEM Be brief.", "role.txt").system == "Be brief."
    assert read('{"name": "Ada", "description": "x"}', "card.txt").name == "Ada"


@pytest.mark.parametrize(("text", "reason"), [("", "is empty"), ("a\0b", "NUL"), ("x" * (5 << 20), "4 MiB")])
def test_an_unusable_text_is_refused(text: str, reason: str) -> None:
    """The reason names what is wrong."""
    with pytest.raises(PersonaError, match=reason):
        read(text)
