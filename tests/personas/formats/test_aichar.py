"""Characters written by aichar are read by hermes, and the reverse.

`aichar` (Rust) supports the fields of V1. In a PNG it reads from the first card to the end of the picture, so
that it finds no card in a picture with both a V2 and a V3 card.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hermes_cli.personas.formats import png, registry
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import CARD, read_persona

if TYPE_CHECKING:
    import aichar
else:
    aichar = pytest.importorskip("aichar", reason="aichar has no wheel for this Python version or system")

Texts = tuple[str, str, str, str, str, str]
TEXTS: Texts = (
    "S\u00e9raphina",
    "{{char}} guards the glade.\n\nShe is \u201cold\u201d.",
    "gentle \U0001f33f",
    "A wood at night.",
    '*She smiles.* "You are safe, {{user}}."',
    "<START>\n{{user}}: Who?\n{{char}}: I.",
)


def texts(persona: Persona) -> Texts:
    """Return the six texts of a V1 card."""
    return (
        persona.name,
        persona.character,
        persona.personality,
        persona.scenario,
        "".join(persona.greetings),
        persona.dialogue,
    )


def aichar_texts(character: "aichar.CharacterClass") -> Texts:
    """Return the same texts of an aichar character."""
    return (
        character.name,
        character.summary,
        character.personality,
        character.scenario,
        character.greeting_message,
        character.example_messages,
    )


@pytest.fixture
def aichar_character(tmp_path: Path) -> "aichar.CharacterClass":
    """A character made by aichar."""
    (tmp_path / "face.png").write_bytes(png.blank())
    return aichar.create_character(*TEXTS, str(tmp_path / "face.png"))


@pytest.mark.parametrize("kind", ["tavernai", "sillytavern"])
def test_a_json_card_by_aichar_is_read_and_aichar_reads_it_back(
    aichar_character: "aichar.CharacterClass", kind: str
) -> None:
    """A card by aichar is read, and aichar reads it after a change and after a new export."""
    data = aichar_character.export_json(kind).encode()
    persona = read_persona(data)
    assert texts(persona) == TEXTS
    changed = registry.write(persona._replace(personality="stern"), "v1", data)
    assert aichar_texts(aichar.load_character_json(changed.decode())) == (*TEXTS[:2], "stern", *TEXTS[3:])
    # The metadata that aichar stores beside the card is unchanged.
    assert json.loads(changed)["metadata"] == json.loads(data)["metadata"]
    new = registry.write(persona._replace(original=None), "v1", None)
    assert aichar_texts(aichar.load_character_json(new.decode())) == TEXTS


def test_neutral_json_by_aichar_is_read(aichar_character: "aichar.CharacterClass") -> None:
    """The neutral JSON of aichar is read from the card's fields, as older ones hold less."""
    assert texts(read_persona(aichar_character.export_neutral_json().encode())) == TEXTS


@pytest.mark.parametrize("kind", ["textgenerationwebui", "pygmalion"])
def test_a_webui_character_by_aichar_is_read(aichar_character: "aichar.CharacterClass", kind: str) -> None:
    """A webui character by aichar is read. It has no place for the description."""
    for exported in (aichar_character.export_json(kind), aichar_character.export_yaml(kind)):
        result = registry.read(exported.encode(), CARD)
        assert result.kind == "webui"
        assert result.persona
        persona = result.persona
        assert (persona.name, persona.character, persona.scenario) == (TEXTS[0], TEXTS[2], TEXTS[3])
        assert (persona.greetings, persona.dialogue) == ((TEXTS[4],), TEXTS[5])


@pytest.mark.parametrize("kind", ["tavernai", "sillytavern", "neutral"])
def test_a_picture_by_aichar_is_read_and_aichar_reads_it_back(
    aichar_character: "aichar.CharacterClass", kind: str
) -> None:
    """A picture by aichar is read, and aichar reads it after a change."""
    data = bytes(
        aichar_character.export_neutral_card() if kind == "neutral" else aichar_character.export_card(kind)
    )
    persona = read_persona(data)
    assert texts(persona) == TEXTS
    if kind != "neutral":  # it has each text twice, and aichar does not read the card's
        changed = registry.write(persona._replace(personality="stern"), "png", data)
        assert aichar_texts(aichar.load_character_card(changed)) == (*TEXTS[:2], "stern", *TEXTS[3:])
