"""Characters written by aichar are read by hermes, and the reverse.

`aichar` (Rust) knows the fields of V1; in a PNG it reads from the first card to the picture's end, so that it
finds no card in a picture with both a V2 and a V3 card.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hermes_cli.personas.formats import png, registry
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import CARD, persona

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


def texts(one: Persona) -> Texts:
    """Return the six texts of a V1 card."""
    return (one.name, one.character, one.personality, one.scenario, "".join(one.greetings), one.dialogue)


def theirs(one: "aichar.CharacterClass") -> Texts:
    """Return the same texts of an aichar character."""
    return (
        one.name,
        one.summary,
        one.personality,
        one.scenario,
        one.greeting_message,
        one.example_messages,
    )


@pytest.fixture
def made(tmp_path: Path) -> "aichar.CharacterClass":
    """A character made by aichar."""
    (tmp_path / "face.png").write_bytes(png.blank())
    return aichar.create_character(*TEXTS, str(tmp_path / "face.png"))


@pytest.mark.parametrize("kind", ["tavernai", "sillytavern"])
def test_aichars_json_is_read_and_read_back(made: "aichar.CharacterClass", kind: str) -> None:
    """A card by aichar is read, and aichar reads it after a change and after a new export."""
    data = made.export_json(kind).encode()
    one = persona(data)
    assert texts(one) == TEXTS
    changed = registry.write(replace(one, personality="stern"), "v1", data)
    assert theirs(aichar.load_character_json(changed.decode())) == (*TEXTS[:2], "stern", *TEXTS[3:])
    # The metadata that aichar stores beside the card is unchanged.
    assert json.loads(changed)["metadata"] == json.loads(data)["metadata"]
    new = registry.write(replace(one, original=None), "v1", None)
    assert theirs(aichar.load_character_json(new.decode())) == TEXTS


def test_aichars_file_for_all_programs_is_read_whole(made: "aichar.CharacterClass") -> None:
    """The neutral JSON of aichar is read from the card's fields, as older ones hold less."""
    assert texts(persona(made.export_neutral_json().encode())) == TEXTS


@pytest.mark.parametrize("kind", ["textgenerationwebui", "pygmalion"])
def test_aichars_characters_for_the_webui_are_read(made: "aichar.CharacterClass", kind: str) -> None:
    """A webui character by aichar is read. It has no place for the description."""
    for said in (made.export_json(kind), made.export_yaml(kind)):
        found = registry.read(said.encode(), CARD)
        assert found.kind == "webui"
        assert found.persona
        one = found.persona
        assert (one.name, one.character, one.scenario) == (TEXTS[0], TEXTS[2], TEXTS[3])
        assert (one.greetings, one.dialogue) == ((TEXTS[4],), TEXTS[5])


@pytest.mark.parametrize("kind", ["tavernai", "sillytavern", "neutral"])
def test_aichars_pictures_are_read_and_read_back(made: "aichar.CharacterClass", kind: str) -> None:
    """A picture by aichar is read, and aichar reads it after a change."""
    data = bytes(made.export_neutral_card() if kind == "neutral" else made.export_card(kind))
    one = persona(data)
    assert texts(one) == TEXTS
    if kind != "neutral":  # it has each text twice, and aichar does not read the card's
        changed = registry.write(replace(one, personality="stern"), "png", data)
        assert theirs(aichar.load_character_card(changed)) == (*TEXTS[:2], "stern", *TEXTS[3:])
