"""Character cards of the three versions: every field, and values of the wrong type."""

from dataclasses import replace
from typing import Any

import pytest

from hermes_cli.personas.formats import registry
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Note, Persona
from tests.personas.formats.cards import CARD, V1, V2, V3, persona, refused, remarks, text, v2

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
NESTED = replace(
    FLAT,
    system="{{original}} Be brief.",
    greetings=(*FLAT.greetings, "Good evening.", "Who sent you?"),
    post_history="Stay in 1843.",
    note=Note("She is tired.", 2),
    creator_notes="Best with patience.",
    lorebook=Lorebook(
        entries=(ENGINE, TEA),
        name="Engines",
        description="What {{char}} knows",
        scan_depth=3,
        token_budget=500,
        recursive=True,
    ),
    worlds=("Victorian London",),
    kind="v2",
)


@pytest.mark.parametrize(
    ("document", "wanted"),
    [(V1, FLAT), (V2, NESTED), (V3, replace(NESTED, nickname="Countess", kind="v3"))],
)
def test_every_field_of_a_card_is_where_hermes_looks_for_it(document: Any, wanted: Persona) -> None:
    """Each field of a V1, V2 or V3 card sets the field of the persona."""
    found = registry.read(text(document), CARD)
    assert found.persona == wanted
    assert found.kind == wanted.kind
    assert found.lorebook is None


def test_a_card_without_a_first_greeting_begins_with_its_others() -> None:
    """Without a first greeting, the alternate ones are the greetings."""
    assert persona(text(v2(first_mes=" "))).greetings == ("Good evening.", "Who sent you?")
    assert persona(text(v2(first_mes="", alternate_greetings=["", "Well?"]))).greetings == ("Well?",)


def test_one_alternate_greeting_without_its_list_is_one() -> None:
    """A text in place of the list of alternate greetings is one greeting."""
    assert persona(text(v2(alternate_greetings="Oh, you."))).greetings[1:] == ("Oh, you.",)


def test_slips_of_somebody_elses_program_leave_the_character_playable() -> None:
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
    found = registry.read(text(document), CARD)
    assert found.persona is not None
    assert (found.persona.character, found.persona.personality) == ("", "7")
    assert found.persona.greetings == (V1["first_mes"], "Hm?", "3")
    assert found.persona.lorebook is None
    told = "; ".join(found.remarks)
    for what in (
        "'scenario' is a list, not a text",
        "'mes_example' is a table",
        "'character_book' is a list",
    ):
        assert what in told


@pytest.mark.parametrize("name", ["", None, " \n ", ["Ada"]])
def test_a_card_without_a_name_is_called_as_its_file(name: Any) -> None:
    """A card without a name gets the name of its file, with a remark."""
    assert persona(text(v2(name=name))).name == "card"
    assert "no name" in remarks(v2(name=name))


def test_a_name_is_one_line() -> None:
    """Line breaks in a name become spaces, and surrounding blanks are removed."""
    assert persona(text(v2(name=" Ada\n\u2028Lovelace "))).name == "Ada Lovelace"


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"spec_version": "2.1"}, "v2", "spec_version 2.1 is newer than 2.0"),
        ({"spec": "chara_card_v3", "spec_version": "3.5"}, "v3", "spec_version 3.5 is newer than 3.0"),
        ({"spec": "chara_card_v4"}, "v3", "spec is 'chara_card_v4'"),
        ({"spec": "chara_card_v1"}, "v2", "spec is 'chara_card_v1'"),
        ({"spec": None}, "v2", "has no 'spec'"),
        ({"spec_version": "two"}, "v2", ""),
    ],
)
def test_a_card_of_another_day_is_read_and_told(changes: dict[str, Any], kind: str, told: str) -> None:
    """A card with a newer, unknown or missing spec is read, with a remark."""
    document = V2 | changes
    assert registry.recognize(text(document)) == kind
    assert persona(text(document)).name == "Ada"
    assert told in remarks(document)
    assert bool(told) == ("spec" in remarks(document) or "says" in remarks(document))


@pytest.mark.parametrize("spec", ["other", 3, ["x"]])
def test_an_old_card_with_a_word_of_its_own_is_read(spec: Any) -> None:
    """A V1 card with an unknown `spec` is read as V1, with a remark."""
    assert persona(text(V1 | {"spec": spec})) == FLAT
    assert "it is read as a V1 card" in remarks(V1 | {"spec": spec})


def test_a_card_that_is_no_more_than_its_name_says_so() -> None:
    """A card with a name alone gets a remark, and one without `data` is refused."""
    assert "does not describe the character" in remarks({"spec": "chara_card_v2", "data": {"name": "Ada"}})
    assert "without 'data'" in refused(text({"spec": "chara_card_v2", "name": "Ada"}))


def test_what_is_kept_and_not_used_is_told() -> None:
    """Fields that are kept and not used are remarked on, up to eight of them by name."""
    more = {f"thing{n}": n + 1 for n in range(9)}
    told = remarks(v2(group_only_greetings=["x"], extensions={"regex_scripts": [1], "fav": True}))
    assert "kept, and not used: group_only_greetings, extensions.regex_scripts" in told
    assert "fav" not in told
    assert "thing7 and 1 more" in remarks(v2(extensions={}, **more))


@pytest.mark.parametrize(
    ("prompt", "wanted", "told"),
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
def test_a_cards_note(prompt: Any, wanted: Note | None, told: str) -> None:
    """A depth prompt becomes the note; an invalid depth is corrected, and an odd value remarked on."""
    document = v2(extensions={"depth_prompt": prompt})
    assert persona(text(document)).note == wanted
    assert told in remarks(document)
    assert bool(told) == bool(remarks(document))


def test_what_hermes_itself_left_in_a_card_comes_back() -> None:
    """The fields that hermes adds to a card are read, and invalid options are remarked on."""
    own = {
        "description": "A line.",
        "user": "Charles",
        "worlds": ["A", "B"],
        "options": {"temperature": 0.5, "stop": ["\n"], "top_k": -3, "nonsense": 1},
    }
    document = v2(extensions={"world": "A", "openhermes": own})
    found = persona(text(document))
    assert (found.description, found.user, found.worlds) == ("A line.", "Charles", ("A", "B"))
    assert found.options == {"temperature": 0.5, "stop": ("\n",)}
    assert "top_k" in remarks(document)
    assert "nonsense" in remarks(document)


def test_notes_in_several_languages_alone_are_notes() -> None:
    """Without plain creator's notes, the English multilingual ones are used."""
    document = {**V3, "data": {**V3["data"], "creator_notes": ""}}
    assert persona(text(document)).creator_notes == "Best with patience."
