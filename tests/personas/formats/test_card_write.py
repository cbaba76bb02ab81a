"""Writing cards: no field of the original is lost, and only changed fields change."""

import json
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
from tests.personas.formats.cards import CARD, V1, V2, V3, VERSIONS, read_persona, to_json, v2

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
    data = to_json(document)
    return json.loads(registry.write(read_persona(data)._replace(**changes), kind, data))


@pytest.mark.parametrize("kind", list(VERSIONS))
def test_an_unchanged_card_is_written_as_the_same_bytes(kind: str) -> None:
    """An unchanged card is written as the same bytes."""
    data = to_json(VERSIONS[kind])
    assert registry.write(read_persona(data), kind, data) == data


_SURE = ("name", "description", "first_mes")
_ODD = ("alternate_greetings", "extensions", "character_book", "nickname", "theirs", "system_prompt")


@given(
    st.fixed_dictionaries(dict.fromkeys(_SURE, json_values), optional=dict.fromkeys(_ODD, json_values)),
    st.sampled_from(["chara_card_v2", "chara_card_v3", ""]),
    st.text(min_size=1, max_size=4),
)
def test_changing_the_scenario_of_any_card_changes_only_that_field(
    data: dict[str, Any], spec: str, scenario: str
) -> None:
    """A change of the scenario changes that field alone, in any card."""
    document = {"spec": spec, "data": data} if spec else data
    raw = to_json(document)
    kind = read_persona(raw).kind
    assert kind == (f"v{spec[-1]}" if spec else "v1")
    back = json.loads(registry.write(read_persona(raw)._replace(scenario=f"x{scenario}"), kind, raw))
    expected = {**data, "scenario": f"x{scenario}"}
    assert back == ({"spec": spec, "data": expected} if spec else expected)


@pytest.mark.parametrize("kind", list(VERSIONS))
def test_an_imported_card_is_exported_as_the_same_bytes(kind: str, tmp_path: Path) -> None:
    """A card that was imported and is exported again has the same bytes."""
    data = to_json(VERSIONS[kind])
    own = tmp_path / "ada.toml"
    imported = read_persona(data)._replace(original=tmp_path / "ada.json")
    kept = native.parse(native_writer.write(imported), own)
    assert kept.original == tmp_path / "ada.json"
    assert registry.write(kept, kind, data) == data


def test_a_change_rewrites_only_its_own_field() -> None:
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


def test_a_changed_note_keeps_its_role_and_unknown_keys() -> None:
    """A changed note keeps its role and its unknown keys."""
    document = v2(extensions={"depth_prompt": {"prompt": "a", "depth": 3, "role": "user", "theirs": 1}})
    prompt = rewritten(document, "v2", note=Note("b", 3))["data"]["extensions"]["depth_prompt"]
    assert prompt == {"prompt": "b", "depth": 3, "role": "user", "theirs": 1}


def test_an_edited_or_moved_entry_keeps_its_unknown_fields() -> None:
    """An edited or moved entry keeps its unknown fields."""
    book = read_persona(to_json(V2)).lorebook
    assert book
    engine, tea = book.entries
    new = book._replace(entries=(LoreEntry("New.", ("new",)), tea._replace(content="With milk."), engine))
    written_book = rewritten(V2, "v2", lorebook=new)["data"]["character_book"]
    first, second, third = written_book["entries"]
    raws = V2["data"]["character_book"]["entries"]
    assert second == raws[1] | {"content": "With milk."}
    assert third == raws[0]
    assert (first["id"], first["content"], first["keys"]) == (2, "New.", ["new"])
    assert written_book["extensions"] == {"theirs": 1}


def test_a_field_that_a_card_has_twice_is_changed_in_both_places() -> None:
    """A field that a card has twice is changed in both places."""
    document = V1 | {"fav": True} | V2
    back = rewritten(document, "v2", personality="kind")
    assert back == document | {"personality": "kind"} | v2(personality="kind")


def test_changing_the_notes_also_changes_the_english_multilingual_notes() -> None:
    """A change of the notes also changes the English text of the multilingual notes."""
    data = rewritten(V3, "v3", creator_notes="New.")["data"]
    assert data["creator_notes_multilingual"] == {"en": "New.", "de": "Mit Geduld."}
    assert data["creator_notes"] == "New."


@pytest.mark.parametrize("before", list(VERSIONS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_card_keeps_its_fields_if_converted_to_another_version(before: str, kind: str) -> None:
    """A card keeps all fields when it is converted to another version and back."""
    data = to_json(VERSIONS[before])
    original = read_persona(data)
    converted = registry.write(original, kind, data)
    reread = read_persona(converted)
    assert reread.kind == kind
    assert reread._replace(kind="") == original._replace(kind="")
    # Converted back to the first version, the card has all its fields unchanged.
    back = json.loads(registry.write(reread, before, converted))
    start = VERSIONS[before]
    inner, expected = (back, start) if before == "v1" else (back["data"], start["data"])
    same = {key: value for key, value in inner.items() if key in expected and key != "character_book"}
    assert same == {key: value for key, value in expected.items() if key != "character_book"}


@pytest.mark.parametrize(("kind", "required"), [("v1", set(V1)), ("v2", V2_REQUIRED), ("v3", V2_REQUIRED)])
def test_a_new_card_has_every_field_that_its_version_requires(kind: str, required: set[str]) -> None:
    """A new card has every field that its version requires."""
    card = json.loads(registry.write(Persona("Ada", "Be Ada.", CARD), kind, None))
    data = card if kind == "v1" else card["data"]
    assert required <= set(data)
    for key in required - {"alternate_greetings", "tags", "extensions"}:
        assert isinstance(data[key], str)
    assert (data["name"], data["system_prompt"]) == ("Ada", "Be Ada.")
    if kind == "v3":
        assert data["group_only_greetings"] == []
        assert (card["spec"], card["spec_version"]) == ("chara_card_v3", "3.0")


def test_each_entry_of_a_v3_card_has_use_regex() -> None:
    """Each entry of a V3 card has `use_regex`, which V3 requires."""
    entries = json.loads(registry.write(read_persona(to_json(V2)), "v3", to_json(V2)))["data"][
        "character_book"
    ]["entries"]
    assert [item["use_regex"] for item in entries] == [True, False]
    book = Lorebook(entries=(LoreEntry("x", ("plain",)), LoreEntry("y", ("/a+/",))))
    card = json.loads(registry.write(Persona("Ada", "", CARD, lorebook=book), "v3", None))
    assert [item["use_regex"] for item in card["data"]["character_book"]["entries"]] == [False, True]


def test_example_pairs_are_written_after_the_dialogue() -> None:
    """The example pairs are written after the example dialogue."""
    persona = Persona(
        "Ada", "", CARD, dialogue="<START>\n{{user}}: a\n", examples=(Example("b", "c"), Example("d", "e"))
    )
    data = json.loads(registry.write(persona, "v2", None))["data"]
    assert data["mes_example"] == (
        "<START>\n{{user}}: a\n<START>\n{{user}}: b\n{{char}}: c\n<START>\n{{user}}: d\n{{char}}: e"
    )


def test_fields_that_cards_lack_are_written_to_extensions() -> None:
    """Fields that cards do not have are written to `extensions.openhermes`."""
    options = MappingProxyType({"temperature": 0.5, "stop": ("x",)})
    persona = Persona("Ada", "", CARD, description="A line.", user="Bob", worlds=("A", "B"), options=options)
    extensions = json.loads(registry.write(persona, "v2", None))["data"]["extensions"]
    assert extensions == {
        "world": "A",
        "openhermes": {
            "worlds": ["A", "B"],
            "description": "A line.",
            "user": "Bob",
            "options": {"temperature": 0.5, "stop": ["x"]},
        },
    }


def test_a_card_larger_than_4_mib_is_not_written() -> None:
    """A card larger than 4 MiB is refused."""
    with pytest.raises(PersonaError, match="larger than 4 MiB"):
        registry.write(Persona("Ada", "x" * (4 << 20), CARD), "v2", None)


@given(values.lorebooks, values.lorebooks)
def test_a_new_lorebook_replaces_the_old_one(old: Lorebook, new: Lorebook) -> None:
    """A new lorebook replaces all of the old one."""
    data = registry.write(Persona("Ada", "", CARD, lorebook=old), "v2", None)
    written = registry.write(read_persona(data)._replace(lorebook=new), "v2", data)
    reread = read_persona(written).lorebook or Lorebook()
    assert reread == _as_in_a_card(new)


def _as_in_a_card(book: Lorebook) -> Lorebook:
    entries = tuple(entry._replace(name=_one_line(entry.name)) for entry in book.entries)
    return book._replace(entries=entries, name=_one_line(book.name), source=None)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@given(values.personas, st.sampled_from(KINDS))
def test_any_persona_is_read_back_from_a_card(persona: Persona, kind: str) -> None:
    """A persona is read back from a card, with names on one line and examples in the dialogue."""
    reread = read_persona(registry.write(persona, kind, None))
    book = persona.lorebook
    book = book and _as_in_a_card(book)
    expected = persona._replace(
        name=_one_line(persona.name) or CARD.stem,
        nickname=_one_line(persona.nickname),
        user=_one_line(persona.user or "") or None,
        worlds=tuple(dict.fromkeys(persona.worlds)),
        lorebook=None if book == Lorebook() else book,
        kind=kind,
        source=CARD,
        original=CARD,
    )
    if persona.examples:
        assert reread.dialogue.startswith(persona.dialogue.rstrip())
        expected = expected._replace(examples=(), dialogue=reread.dialogue)
    assert reread == expected
    assert registry.write(reread, kind, registry.write(persona, kind, None)) == registry.write(
        persona, kind, None
    )
