"""Character cards of the three versions: every field, and values of the wrong type."""

import json
from typing import Any

import pytest

from hermes_cli.personas.formats import registry
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Note, Persona
from tests.personas.formats.cards import (
    CARD,
    V1,
    V2,
    V3,
    cards_in_png,
    error_text,
    read_persona,
    remarks,
    to_json,
    v2,
)

FLAT = Persona(
    name="Ada",
    system="",
    source=CARD,
    character="{{char}} is a mathematician.",
    personality="exact",
    scenario="London, 1843.",
    greetings=("*looks up* Yes, {{user}}?",),
    dialogue="<START>\n{{user}}: Hi\n{{char}}: Hello.",
    original=CARD,
    kind="v1",
)
ENGINE = LoreEntry(
    content="The engine weaves algebra.",
    keys=("engine", "/analy\\w+/i"),
    name="The engine",
    secondary=("Babbage",),
    logic=Logic.AND_ALL,
    constant=True,
    order=5,
    priority=9,
    position=Position.DEPTH,
    depth=2,
    case_sensitive=True,
    whole_words=True,
    scan_depth=7,
    probability=40.0,
    sticky=2,
    cooldown=3,
    delay=1,
    recursable=False,
    recurses=False,
    only_recursion=True,
)
TEA = LoreEntry(
    content="She takes it black.",
    keys=("tea",),
    enabled=False,
    order=1,
    priority=1,
    position=Position.BEFORE,
)
NESTED = FLAT._replace(
    system="{{original}} Be brief.",
    greetings=(*FLAT.greetings, "Good evening.", "Who sent you?"),
    post_history="Stay in 1843.",
    note=Note("She is tired.", 2),
    creator_notes="Best with patience.",
    lorebook=Lorebook(
        entries=(ENGINE, TEA),
        name="Engines",
        description="What {{char}} knows",
    ),
    worlds=("Victorian London",),
    kind="v2",
)


@pytest.mark.parametrize(
    ("document", "expected"),
    [(V1, FLAT), (V2, NESTED), (V3, NESTED._replace(nickname="Countess", kind="v3"))],
)
def test_every_field_of_a_card_is_read(document: Any, expected: Persona) -> None:
    """Each field of a V1, V2 or V3 card sets the field of the persona."""
    result = registry.read(to_json(document), CARD)
    assert result.persona == expected
    assert result.kind == expected.kind
    assert result.lorebook is None


def test_alternate_greetings_are_used_if_the_first_one_is_missing() -> None:
    """Without a first greeting, the alternate ones are the greetings."""
    assert read_persona(to_json(v2(first_mes=" "))).greetings == ("Good evening.", "Who sent you?")
    assert read_persona(to_json(v2(first_mes="", alternate_greetings=["", "Well?"]))).greetings == ("Well?",)


def test_a_text_as_alternate_greetings_is_one_greeting() -> None:
    """A text in place of the list of alternate greetings is one greeting."""
    assert read_persona(to_json(v2(alternate_greetings="Oh, you."))).greetings[1:] == ("Oh, you.",)


def test_values_of_the_wrong_type_are_converted_or_left_out() -> None:
    """A value of the wrong type is converted, or left out with a remark."""
    document = v2(
        description=None,
        personality=7,
        scenario=["x"],
        mes_example={"a": 1},
        alternate_greetings=[None, "Hm?", 3],
        extensions=None,
        character_book=[],
    )
    result = registry.read(to_json(document), CARD)
    assert result.persona is not None
    assert (result.persona.character, result.persona.personality) == ("", "7")
    assert result.persona.greetings == (V1["first_mes"], "Hm?", "3")
    assert result.persona.lorebook is None
    joined = "; ".join(result.remarks)
    for remark in (
        "'scenario' is a list, not a string",
        "'mes_example' is a table",
        "'character_book' is a list",
    ):
        assert remark in joined


@pytest.mark.parametrize("name", ["", None, " \n ", ["Ada"]])
def test_a_card_without_a_name_is_named_after_its_file(name: Any) -> None:
    """A card without a name gets the name of its file, with a remark."""
    assert read_persona(to_json(v2(name=name))).name == "card"
    assert "no name" in remarks(v2(name=name))


def test_line_breaks_in_a_name_become_spaces() -> None:
    """Line breaks in a name become spaces, and surrounding blanks are removed."""
    assert read_persona(to_json(v2(name=" Ada\n\u2028Lovelace "))).name == "Ada Lovelace"


@pytest.mark.parametrize(
    ("changes", "kind", "remark"),
    [
        ({"spec_version": "2.1"}, "v2", "spec_version 2.1 is newer than 2.0"),
        ({"spec": "chara_card_v3", "spec_version": "3.5"}, "v3", "spec_version 3.5 is newer than 3.0"),
        ({"spec": "chara_card_v4"}, "v3", "spec is 'chara_card_v4'"),
        ({"spec": "chara_card_v1"}, "v2", "spec is 'chara_card_v1'"),
        ({"spec": None}, "v2", "has no 'spec'"),
        ({"spec_version": "two"}, "v2", ""),
    ],
)
def test_a_card_with_a_newer_or_unknown_spec_is_read_with_a_remark(
    changes: dict[str, Any], kind: str, remark: str
) -> None:
    """A card with a newer, unknown or missing spec is read, with a remark."""
    document = V2 | changes
    persona = read_persona(to_json(document))
    assert (persona.kind, persona.name) == (kind, "Ada")
    assert remark in remarks(document)
    assert bool(remark) == ("spec" in remarks(document) or "says" in remarks(document))


@pytest.mark.parametrize("spec", ["other", 3, ["x"]])
def test_a_v1_card_with_an_unknown_spec_is_read_as_v1(spec: Any) -> None:
    """A V1 card with an unknown `spec` is read as V1, with a remark."""
    assert read_persona(to_json(V1 | {"spec": spec})) == FLAT
    assert "it is read as a V1 card" in remarks(V1 | {"spec": spec})


def test_a_card_with_only_a_name_gets_a_remark() -> None:
    """A card with a name alone gets a remark, and one without `data` is refused."""
    assert "does not describe the character" in remarks({"spec": "chara_card_v2", "data": {"name": "Ada"}})
    assert "without 'data'" in error_text(to_json({"spec": "chara_card_v2", "name": "Ada"}))


def test_fields_that_are_kept_and_not_used_get_a_remark() -> None:
    """Fields that are kept and not used are remarked on, up to eight of them by name."""
    more = {f"thing{n}": n + 1 for n in range(9)}
    remark = remarks(v2(group_only_greetings=["x"], extensions={"risu": [1], "fav": True}))
    assert "kept but not used: group_only_greetings, extensions.risu" in remark
    assert "fav" not in remark
    assert "thing7 and 1 more" in remarks(v2(extensions={}, **more))


@pytest.mark.parametrize(
    ("prompt", "expected", "remark"),
    [
        ({"prompt": "x"}, Note("x", 4), ""),
        ({"prompt": "x", "depth": 0}, Note("x", 0), ""),
        ({"prompt": "x", "depth": 9999}, Note("x", 100), "9,999"),
        ({"prompt": "x", "depth": -1}, Note("x", 4), "out of the range"),
        ({"prompt": "x", "role": "user"}, Note("x", 4), "the role of its note is user"),
        ({"prompt": " ", "depth": 1}, None, ""),
        ({"prompt": "x", "role": ["user"]}, Note("x", 4), ""),
        (3, None, "is a number, not a table"),
    ],
)
def test_a_depth_prompt_becomes_the_note(prompt: Any, expected: Note | None, remark: str) -> None:
    """A depth prompt becomes the note; an invalid depth is corrected, and an odd value remarked on."""
    document = v2(extensions={"depth_prompt": prompt})
    assert read_persona(to_json(document)).note == expected
    assert remark in remarks(document)
    assert bool(remark) == (remarks(document) != remarks(v2(extensions={})))


def test_fields_that_hermes_adds_to_a_card_are_read() -> None:
    """The fields that hermes adds to a card are read, and invalid options are remarked on."""
    own = {
        "description": "A line.",
        "user": "Charles",
        "worlds": ["A", "B"],
        "options": {"temperature": 0.5, "stop": ["\n"], "top_k": -3, "nonsense": 1},
    }
    document = v2(extensions={"world": "A", "openhermes": own})
    persona = read_persona(to_json(document))
    assert (persona.description, persona.user, persona.worlds) == ("A line.", "Charles", ("A", "B"))
    assert persona.options == {"temperature": 0.5, "stop": ("\n",)}
    assert "top_k" in remarks(document)
    assert "nonsense" in remarks(document)


def test_english_multilingual_notes_are_used_if_there_are_no_others() -> None:
    """Without plain creator's notes, the English multilingual ones are used."""
    document = {**V3, "data": {**V3["data"], "creator_notes": ""}}
    assert read_persona(to_json(document)).creator_notes == "Best with patience."


@pytest.mark.parametrize("document", [V2, V3])
def test_a_card_with_its_fields_at_the_top_level_is_read(document: Any) -> None:
    """Some programs write V2 and V3 cards without 'data'."""
    flat = {"spec": document["spec"], "spec_version": document["spec_version"], **document["data"]}
    assert read_persona(to_json(flat)) == read_persona(to_json(document))
    assert "not under 'data'" in remarks(flat)
    assert remarks(document).replace("not under 'data'", "") == remarks(document)


def test_a_flat_card_keeps_its_form_and_is_exported_in_the_form_of_the_specification() -> None:
    """A change keeps the fields at the top level; another format has them under 'data'."""
    flat = {"spec": "chara_card_v3", "spec_version": "3.0", **V3["data"]}
    data = to_json(flat)
    persona = read_persona(data)
    assert registry.write(persona, "v3", data) == data
    changed = persona._replace(scenario="Now.")
    assert json.loads(registry.write(changed, "v3", data)) == flat | {"scenario": "Now."}
    assert json.loads(registry.write(persona, "v2", data))["data"]["tags"] == ["history"]
    newest = cards_in_png(registry.write(persona, "png", data))["ccv3"]
    assert newest["data"].keys() == V3["data"].keys()
    assert newest["data"]["tags"] == ["history"]
