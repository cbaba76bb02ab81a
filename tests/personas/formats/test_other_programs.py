"""Cards between hermes and two other implementations of the format: what they write, hermes reads, and back.

`aichar` (Rust) knows the fields of V1; in a PNG it reads from the first card to the picture's end, so that a
picture with a V2 and a V3 card is none to it. `tavern-card` knows V1 to V3, as JSON and in a PNG.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aichar
import pytest
import tavern_card

from hermes_cli.personas.formats import png, table
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import CARD, V1, V2, V3, persona, text

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


def theirs(one: aichar.CharacterClass) -> Texts:
    """Return the same of aichar's."""
    return (
        one.name,
        one.summary,
        one.personality,
        one.scenario,
        one.greeting_message,
        one.example_messages,
    )


@pytest.fixture
def made(tmp_path: Path) -> aichar.CharacterClass:
    """A character of aichar's."""
    (tmp_path / "face.png").write_bytes(png.blank())
    return aichar.create_character(*TEXTS, str(tmp_path / "face.png"))


@pytest.mark.parametrize("kind", ["tavernai", "sillytavern"])
def test_aichars_json_is_read_and_read_back(made: aichar.CharacterClass, kind: str) -> None:
    """A card would lose texts between hermes and aichar."""
    data = made.export_json(kind).encode()
    one = persona(data)
    assert texts(one) == TEXTS
    changed = table.write(replace(one, personality="stern"), "v1", data)
    assert theirs(aichar.load_character_json(changed.decode())) == (*TEXTS[:2], "stern", *TEXTS[3:])
    # What aichar keeps beside the card is there still.
    assert json.loads(changed)["metadata"] == json.loads(data)["metadata"]
    new = table.write(replace(one, original=None), "v1", None)
    assert theirs(aichar.load_character_json(new.decode())) == TEXTS


def test_aichars_file_for_all_programs_is_read_whole(made: aichar.CharacterClass) -> None:
    """Its older fields hold less than the card's: the character would lose its description."""
    assert texts(persona(made.export_neutral_json().encode())) == TEXTS


@pytest.mark.parametrize("kind", ["textgenerationwebui", "pygmalion"])
def test_aichars_characters_for_the_webui_are_read(made: aichar.CharacterClass, kind: str) -> None:
    """A character of text-generation-webui's would not be known. It has no place for the description."""
    for said in (made.export_json(kind), made.export_yaml(kind)):
        found = table.read(said.encode(), CARD)
        assert found.kind == "webui"
        assert found.persona
        one = found.persona
        assert (one.name, one.character, one.scenario) == (TEXTS[0], TEXTS[2], TEXTS[3])
        assert (one.greetings, one.dialogue) == ((TEXTS[4],), TEXTS[5])


@pytest.mark.parametrize("kind", ["tavernai", "sillytavern", "neutral"])
def test_aichars_pictures_are_read_and_read_back(made: aichar.CharacterClass, kind: str) -> None:
    """A card in a picture would lose texts between hermes and aichar."""
    data = bytes(made.export_neutral_card() if kind == "neutral" else made.export_card(kind))
    one = persona(data)
    assert texts(one) == TEXTS
    if kind != "neutral":  # there each text stands twice, and aichar reads the one that is no card's
        changed = table.write(replace(one, personality="stern"), "png", data)
        assert theirs(aichar.load_character_card(changed)) == (*TEXTS[:2], "stern", *TEXTS[3:])


@pytest.mark.parametrize("document", [V1, V2, V3], ids=["v1", "v2", "v3"])
@pytest.mark.parametrize("kind", ["v1", "v2", "v3", "png"])
def test_what_hermes_writes_tavern_card_reads_whole(document: Any, kind: str) -> None:
    """A card that hermes wrote would lose fields in another program.

    In a V1 card tavern-card looks for its six texts, and `creator` and `tags`.
    """
    data = text(document)
    written = table.write(persona(data), kind, data)
    read = tavern_card.parse_png_card if kind == "png" else tavern_card.parse_card
    found = read(written)["data"]
    wanted = tavern_card.parse_card(document)["data"]
    if kind == "v1":
        of_v1 = {*V1, "creator", "tags"}
        assert {key: found[key] for key in of_v1} == {key: wanted[key] for key in of_v1}
        return
    book = found.pop("character_book")
    theirs = wanted.pop("character_book")
    for one in (book or {}).get("entries", []):
        if "use_regex" not in theirs["entries"][book["entries"].index(one)]:
            one.pop("use_regex", None)  # V3 requires it
    assert book == theirs
    assert found == wanted


@pytest.mark.parametrize("document", [V1, V2, V3], ids=["v1", "v2", "v3"])
def test_what_tavern_card_writes_hermes_reads_whole(document: Any) -> None:
    """A card that another program wrote would lose fields in hermes.

    A nickname tavern-card itself leaves out.
    """
    normal = tavern_card.parse_card(document)
    data = tavern_card.write_png_card(normal)
    wanted = replace(persona(text(document)), kind="", nickname="")
    assert replace(persona(data), kind="") == wanted
    assert replace(persona(text(normal)), kind="") == wanted
    changed = table.write(replace(persona(data), scenario="Now."), "png", data)
    back = tavern_card.parse_png_card(changed)
    assert back == {**normal, "data": {**normal["data"], "scenario": "Now."}}


def test_a_card_into_hermes_own_picture_by_tavern_card() -> None:
    """The plain picture would not be one that other programs can write into."""
    data = tavern_card.write_png_card(V2, png.blank())
    assert replace(persona(data), kind="v2") == persona(text(V2))
