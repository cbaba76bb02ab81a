"""Writing cards: no field of the original is lost, and only changed fields change."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas import native, native_writer
from hermes_cli.personas.formats import registry
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.persona import Example, Note, Persona
from tests.personas import values
from tests.personas.formats.cards import CARD, V1, V2, V3, VERSIONS, persona, text, v2

KINDS = ("v1", "v2", "v3", "png", "charx")
V2_REQUIRED = {
    *V1,
    *("creator_notes", "system_prompt", "post_history_instructions", "alternate_greetings", "tags"),
    *("creator", "character_version", "extensions"),
}
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def rewritten(document: Any, kind: str, **changes: Any) -> Any:
    """Return the JSON of a card after a change of its persona."""
    data = text(document)
    return json.loads(registry.write(replace(persona(data), **changes), kind, data))


@pytest.mark.parametrize("kind", list(VERSIONS))
def test_a_card_that_nobody_changed_is_written_as_it_was(kind: str) -> None:
    """An unchanged card is written as the same bytes."""
    data = text(VERSIONS[kind])
    assert registry.write(persona(data), kind, data) == data


_SURE = ("name", "description", "first_mes")
_ODD = ("alternate_greetings", "extensions", "character_book", "nickname", "theirs", "system_prompt")


@given(
    st.fixed_dictionaries(dict.fromkeys(_SURE, json_values), optional=dict.fromkeys(_ODD, json_values)),
    st.sampled_from(["chara_card_v2", "chara_card_v3", ""]),
    st.text(min_size=1, max_size=4),
)
def test_of_any_card_one_change_changes_one_field(data: dict[str, Any], spec: str, scenario: str) -> None:
    """A change of the scenario changes that field alone, in any card."""
    document = {"spec": spec, "data": data} if spec else data
    raw = text(document)
    kind = registry.recognize(raw)
    assert kind == (f"v{spec[-1]}" if spec else "v1")
    back = json.loads(registry.write(replace(persona(raw), scenario=f"x{scenario}"), kind, raw))
    wanted = {**data, "scenario": f"x{scenario}"}
    assert back == ({"spec": spec, "data": wanted} if spec else wanted)


@pytest.mark.parametrize("kind", list(VERSIONS))
def test_a_card_that_was_kept_as_hermes_own_file_is_written_as_it_was(kind: str, tmp_path: Path) -> None:
    """A card that was imported and is exported again has the same bytes."""
    data = text(VERSIONS[kind])
    own = tmp_path / "ada.toml"
    imported = replace(persona(data), original=tmp_path / "ada.json")
    kept = native.parse(native_writer.write(imported), own)
    assert kept.original == tmp_path / "ada.json"
    assert registry.write(kept, kind, data) == data


def test_a_change_changes_its_own_field_alone() -> None:
    """A change rewrites its own field and keeps the rest of the card."""
    assert rewritten(V2, "v2", personality="kind") == v2(personality="kind")
    assert rewritten(V2, "v2", greetings=("A", "B")) == v2(first_mes="A", alternate_greetings=["B"])
    assert rewritten(V2, "v2", greetings=()) == v2(first_mes="", alternate_greetings=[])
    more = V2["data"]["extensions"]
    note = {"prompt": "Late.", "depth": 1, "role": "system"}
    assert rewritten(V2, "v2", note=Note("Late.", 1)) == v2(extensions=more | {"depth_prompt": note})
    without = {key: value for key, value in more.items() if key not in {"depth_prompt", "world"}}
    assert rewritten(V2, "v2", note=None, worlds=()) == v2(extensions=without)
    bare = {key: value for key, value in V2["data"].items() if key != "character_book"}
    assert rewritten(V2, "v2", lorebook=None) == {**V2, "data": bare}


def test_a_note_of_somebody_elses_keeps_its_role() -> None:
    """A changed note keeps its role and its unknown keys."""
    document = v2(extensions={"depth_prompt": {"prompt": "a", "depth": 3, "role": "user", "theirs": 1}})
    prompt = rewritten(document, "v2", note=Note("b", 3))["data"]["extensions"]["depth_prompt"]
    assert prompt == {"prompt": "b", "depth": 3, "role": "user", "theirs": 1}


def test_an_edited_entry_is_found_again_wherever_it_stands() -> None:
    """An edited or moved entry keeps its unknown fields."""
    book = persona(text(V2)).lorebook
    assert book
    engine, tea = book.entries
    new = replace(book, entries=(LoreEntry("New.", ("new",)), replace(tea, content="With milk."), engine))
    made = rewritten(V2, "v2", lorebook=new)["data"]["character_book"]
    first, second, third = made["entries"]
    raws = V2["data"]["character_book"]["entries"]
    assert second == raws[1] | {"content": "With milk."}
    assert third == raws[0]
    assert (first["id"], first["content"], first["keys"]) == (2, "New.", ["new"])
    assert made["extensions"] == {"theirs": 1}


def test_fields_that_a_card_says_twice_stay_the_same() -> None:
    """A field that a card has twice is changed in both places."""
    document = V1 | {"fav": True} | V2
    back = rewritten(document, "v2", personality="kind")
    assert back == document | {"personality": "kind"} | v2(personality="kind")


def test_notes_in_several_languages_change_with_the_notes() -> None:
    """A change of the notes also changes the English text of the multilingual notes."""
    data = rewritten(V3, "v3", creator_notes="New.")["data"]
    assert data["creator_notes_multilingual"] == {"en": "New.", "de": "Mit Geduld."}
    assert data["creator_notes"] == "New."


@pytest.mark.parametrize("before", list(VERSIONS))
@pytest.mark.parametrize("kind", KINDS)
def test_from_one_version_to_another_nothing_is_lost(before: str, kind: str) -> None:
    """A card keeps all fields when it is converted to another version and back."""
    data = text(VERSIONS[before])
    played = persona(data)
    made = registry.write(played, kind, data)
    assert registry.recognize(made) == kind
    found = persona(made)
    assert replace(found, kind="") == replace(played, kind="")
    # Converted back to the first version, the card has all its fields unchanged.
    back = json.loads(registry.write(found, before, made))
    start = VERSIONS[before]
    inner, wanted = (back, start) if before == "v1" else (back["data"], start["data"])
    same = {key: value for key, value in inner.items() if key in wanted and key != "character_book"}
    assert same == {key: value for key, value in wanted.items() if key != "character_book"}


@pytest.mark.parametrize(("kind", "required"), [("v1", set(V1)), ("v2", V2_REQUIRED), ("v3", V2_REQUIRED)])
def test_a_new_card_has_all_that_its_version_requires(kind: str, required: set[str]) -> None:
    """A new card has every field that its version requires."""
    made = json.loads(registry.write(Persona("Ada", "Be Ada.", CARD), kind, None))
    data = made if kind == "v1" else made["data"]
    assert required <= set(data)
    for key in required - {"alternate_greetings", "tags", "extensions"}:
        assert isinstance(data[key], str)
    assert (data["name"], data["system_prompt"]) == ("Ada", "Be Ada.")
    if kind == "v3":
        assert data["group_only_greetings"] == []
        assert (made["spec"], made["spec_version"]) == ("chara_card_v3", "3.0")


def test_a_v3_cards_entries_say_whether_they_are_patterns() -> None:
    """Each entry of a V3 card has `use_regex`, which V3 requires."""
    entries = json.loads(registry.write(persona(text(V2)), "v3", text(V2)))["data"]["character_book"][
        "entries"
    ]
    assert [one["use_regex"] for one in entries] == [True, False]
    book = Lorebook(entries=(LoreEntry("x", ("plain",)), LoreEntry("y", ("/a+/",))))
    made = json.loads(registry.write(Persona("Ada", "", CARD, lorebook=book), "v3", None))
    assert [one["use_regex"] for one in made["data"]["character_book"]["entries"]] == [False, True]


def test_examples_go_behind_the_dialogue() -> None:
    """The example pairs are written after the example dialogue."""
    one = Persona(
        "Ada", "", CARD, dialogue="<START>\n{{user}}: a\n", examples=(Example("b", "c"), Example("d", "e"))
    )
    data = json.loads(registry.write(one, "v2", None))["data"]
    assert data["mes_example"] == (
        "<START>\n{{user}}: a\n<START>\n{{user}}: b\n{{char}}: c\n<START>\n{{user}}: d\n{{char}}: e"
    )


def test_what_cards_have_no_field_for_is_kept_apart() -> None:
    """Fields that cards do not have are written to `extensions.openhermes`."""
    options = MappingProxyType({"temperature": 0.5, "stop": ("x",)})
    one = Persona("Ada", "", CARD, description="A line.", user="Bob", worlds=("A", "B"), options=options)
    more = json.loads(registry.write(one, "v2", None))["data"]["extensions"]
    assert more == {
        "world": "A",
        "openhermes": {
            "worlds": ["A", "B"],
            "description": "A line.",
            "user": "Bob",
            "options": {"temperature": 0.5, "stop": ["x"]},
        },
    }


def test_a_card_larger_than_hermes_reads_is_not_written() -> None:
    """A card larger than 4 MiB is refused."""
    with pytest.raises(PersonaError, match="larger than 4 MiB"):
        registry.write(Persona("Ada", "x" * (4 << 20), CARD), "v2", None)


@given(values.lorebooks, values.lorebooks)
def test_any_book_over_any_book_is_the_new_one(old: Lorebook, new: Lorebook) -> None:
    """A new lorebook replaces all of the old one."""
    data = registry.write(Persona("Ada", "", CARD, lorebook=old), "v2", None)
    made = registry.write(replace(persona(data), lorebook=new), "v2", data)
    found = persona(made).lorebook or Lorebook()
    assert found == _as_in_a_card(new)


def _as_in_a_card(book: Lorebook) -> Lorebook:
    entries = tuple(replace(entry, name=_line(entry.name)) for entry in book.entries)
    return replace(book, entries=entries, name=_line(book.name), source=None)


def _line(said: str) -> str:
    return " ".join(said.split())


@given(values.personas, st.sampled_from(KINDS))
def test_any_persona_comes_back_from_a_card(one: Persona, kind: str) -> None:
    """A persona is read back from a card, with names on one line and examples in the dialogue."""
    found = persona(registry.write(one, kind, None))
    book = one.lorebook
    book = book and _as_in_a_card(book)
    wanted = replace(
        one,
        name=_line(one.name) or CARD.stem,
        nickname=_line(one.nickname),
        user=_line(one.user or "") or None,
        worlds=tuple(dict.fromkeys(one.worlds)),
        lorebook=None if book == Lorebook() else book,
        kind=kind,
        source=CARD,
        original=CARD,
    )
    if one.examples:
        assert found.dialogue.startswith(one.dialogue.rstrip())
        wanted = replace(wanted, examples=(), dialogue=found.dialogue)
    assert found == wanted
    assert registry.write(found, kind, registry.write(one, kind, None)) == registry.write(one, kind, None)
