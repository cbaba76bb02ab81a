"""The entries of a card's lorebook: keys, positions and SillyTavern's extensions."""

import json
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.personas.formats import book, book_write, registry
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Persona
from hermes_cli.untrusted.value import Value
from tests.personas.formats.cards import CARD, entry, error_text, read_persona, remarks, to_json, v2


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({"keys": ["a", " ", "b c"]}, ("a", "b c")),
        ({"keys": "a, b"}, ("a", "b")),
        ({"keys": ["a", 1871, None]}, ("a", "1871")),
        ({"keys": ["/a/", "b"]}, ("/a/", "b")),
        ({"keys": ["dra+gon"], "use_regex": True}, ("/dra+gon/",)),
        ({"keys": ["dra+gon"], "use_regex": True, "case_sensitive": False}, ("/dra+gon/i",)),
        ({"keys": ["a/b", "c\\/d"], "use_regex": True}, ("/a\\/b/", "/c\\/d/")),
        ({"keys": ["a\\\\/b\\d"], "use_regex": True}, ("/a\\\\\\/b\\d/",)),
        ({"keys": ["/a/i"], "use_regex": True}, ("/a/i",)),
        # SillyTavern sets it on every entry, and only keys between slashes are patterns there.
        ({"keys": ["a.b"], "use_regex": True, "extensions": {"selectiveLogic": 0}}, ("a.b",)),
    ],
)
def test_keys_are_read_and_made_patterns_if_the_entry_uses_regex(
    fields: dict[str, Any], keys: tuple[str, ...]
) -> None:
    """Keys are read from a list or a text, and made patterns if the entry uses regular expressions."""
    assert entry(**fields).keys == keys


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("/a/", True),
        ("/a/gi", True),
        ("/a", False),
        ("a/", False),
        ("//", False),
        ("/a/1", False),
        ("/", False),
    ],
)
def test_a_pattern_is_a_text_between_two_slashes(key: str, expected: bool) -> None:  # noqa: FBT001 - a case's answer
    """A pattern is a text between two slashes, with letters as flags."""
    assert book.is_pattern(key) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"selective": True}, ("b",)),
        ({"selective": False}, ()),
        ({}, ()),
        ({"selective": True, "use_regex": True}, ()),
    ],
)
def test_secondary_keys_count_only_if_the_entry_is_selective(
    fields: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """Secondary keys count only if the entry is selective and uses no patterns."""
    assert entry(secondary_keys=["b"], **fields).secondary == expected


@pytest.mark.parametrize(
    ("number", "logic"), [(0, Logic.AND_ANY), (1, Logic.NOT_ALL), (2, Logic.NOT_ANY), (3, Logic.AND_ALL)]
)
def test_logic_numbers_of_sillytavern_are_read(number: int, logic: Logic) -> None:
    """Each of SillyTavern's logic numbers gives the logic of the same meaning."""
    assert entry(extensions={"selectiveLogic": number}).logic is logic


@pytest.mark.parametrize(
    ("fields", "position", "depth"),
    [
        ({"position": "before_char"}, Position.BEFORE, 4),
        ({"position": "after_char"}, Position.AFTER, 4),
        ({}, Position.AFTER, 4),
        ({"position": "before_char", "extensions": {"position": 1}}, Position.AFTER, 4),
        ({"extensions": {"position": 0}}, Position.BEFORE, 4),
        ({"extensions": {"position": 2, "depth": 9}}, Position.DEPTH, 4),
        ({"extensions": {"position": 3, "depth": 9}}, Position.DEPTH, 4),
        ({"extensions": {"position": 4, "depth": 9}}, Position.DEPTH, 9),
        ({"extensions": {"position": 4}}, Position.DEPTH, 4),
        ({"extensions": {"position": 5}}, Position.AFTER, 4),
        ({"extensions": {"position": 6}}, Position.AFTER, 4),
        ({"extensions": {"position": 99}}, Position.AFTER, 4),
    ],
)
def test_positions_of_cards_and_of_sillytavern_are_read(
    fields: dict[str, Any], position: Position, depth: int
) -> None:
    """Each position of a card and of SillyTavern gives a position and a depth."""
    lore_entry = entry(**fields)
    assert (lore_entry.position, lore_entry.depth, lore_entry.enabled) == (position, depth, True)


def test_an_entry_in_an_outlet_is_disabled_with_a_remark() -> None:
    """An entry in an outlet is disabled, with a remark."""
    assert entry(extensions={"position": 7}).enabled is False
    entries = [{"keys": ["a"], "content": "b", "enabled": True, "extensions": {"position": 7}}] * 2
    assert "outlet are disabled: hermes does not support outlets (2 times)" in remarks(
        v2(character_book={"entries": entries})
    )


@pytest.mark.parametrize(
    ("fields", "order", "priority"),
    [({"insertion_order": 7}, 7, 7), ({"insertion_order": 7, "priority": 3}, 7, 3), ({}, 1, 1)],
)
def test_an_entry_without_a_priority_uses_its_order(
    fields: dict[str, Any], order: int, priority: int
) -> None:
    """An entry without a priority has its order as the priority."""
    assert (entry(**fields).order, entry(**fields).priority) == (order, priority)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"probability": 30}, 30.0),
        ({"probability": 30, "useProbability": False}, 100.0),
        ({"probability": 300}, 100.0),
        ({"probability": "5"}, 5.0),
        ({}, 100.0),
    ],
)
def test_a_probability_is_at_most_100_and_100_by_default(more: dict[str, Any], expected: float) -> None:
    """A probability is at most 100, and 100 if it is absent or switched off."""
    assert entry(extensions=more).probability == expected


def test_an_unsupported_field_of_sillytavern_gets_a_remark() -> None:
    """A field of SillyTavern's that hermes does not use is remarked on if it is set."""
    raw = {
        "keys": ["a"],
        "content": "b",
        "enabled": True,
        "extensions": {"triggers": ["x"], "vectorized": False},
    }
    remark = remarks(v2(character_book={"entries": [raw]}))
    assert "entries have 'triggers', which hermes does not use" in remark
    assert "vectorized" not in remark


def test_inclusion_groups_are_read_and_written() -> None:
    """SillyTavern separates the names of several groups with commas."""
    extensions = {"group": "mood, , weather,mood", "group_weight": 30, "group_override": True}
    read = entry(extensions={**extensions, "use_group_scoring": True})
    assert (read.groups, read.group_weight) == (("mood", "weather"), 30)
    assert (read.group_override, read.group_scoring) == (True, True)
    assert (entry().groups, entry().group_weight, entry().group_override) == ((), 100, False)
    new = read._replace(groups=("mood", "place"), group_weight=5)
    written = book_write.write(None, Lorebook((new,)), Path("card.json"))
    assert written["entries"][0]["extensions"]["group"] == "mood, place"
    assert book.read(Value(written, Remarks()), Path("card.json"), Remarks()).entries == (new,)


def test_entries_that_are_not_tables_are_left_out_with_a_remark() -> None:
    """Entries that are not tables are left out, with a remark."""
    document = v2(character_book={"entries": [None, {"keys": None, "content": 5}, "x"]})
    lorebook = read_persona(to_json(document)).lorebook
    assert lorebook
    assert [entry.content for entry in lorebook.entries] == ["5"]
    assert "has values that are not tables" in remarks(document)


def test_a_book_with_too_many_entries_is_refused() -> None:
    """A book of more than 4,000 entries is refused."""
    assert "has 4,001 entries" in error_text(to_json(v2(character_book={"entries": [{}] * 4_001})))


def test_an_empty_book_gives_no_lorebook() -> None:
    """A persona has no lorebook if that of its card is empty."""
    empty = {"name": " ", "description": "", "extensions": {}, "entries": []}
    assert read_persona(to_json(v2(character_book=empty))).lorebook is None


def test_the_settings_of_a_book_are_ignored_with_one_remark() -> None:
    """SillyTavern ignores the settings of a card's book, and so does hermes, with a remark."""
    settings = {"scan_depth": 50, "token_budget": 500, "recursive_scanning": False}
    document = v2(character_book={"name": "b", "entries": [{"keys": ["a"], "content": "b"}], **settings})
    lorebook = read_persona(to_json(document)).lorebook
    assert lorebook is not None
    assert (lorebook.scan_depth, lorebook.token_budget, lorebook.recursive) == (None, None, None)
    expected = "not used, as in SillyTavern: scan_depth 50, token_budget 500, recursive_scanning false"
    assert remarks(document).count(expected) == 1
    defaults = v2(character_book={"entries": [], "scan_depth": 2, "recursive_scanning": True})
    assert "lorebook" not in remarks(defaults)


def test_the_settings_that_hermes_wrote_are_read_again() -> None:
    """The settings of a persona that is exported as a card are used, and other programs see them too."""
    book = Lorebook((LoreEntry("b", ("a",), priority=100),), scan_depth=5, share=40, whole_words=False)
    data = registry.write(Persona("Ada", "", CARD, lorebook=book), "v2", None)
    assert json.loads(data)["data"]["character_book"]["scan_depth"] == 5
    assert read_persona(data).lorebook == book
    changed = registry.write(Persona("Ada", "", CARD, lorebook=book._replace(scan_depth=None)), "v2", data)
    assert "scan_depth" not in json.loads(changed)["data"]["character_book"]
    assert read_persona(changed).lorebook == book._replace(scan_depth=None)


def test_a_book_with_too_many_wrong_values_is_refused() -> None:
    """25,000 values of the wrong type are remarks, and one more makes the file an invalid one."""
    entries: list[Any] = [{"enabled": []}] * 3_000 + [{"insertion_order": {}, "constant": []}] * 1_000
    document = v2(character_book={"entries": [{**entry, "priority": []} for entry in entries]})
    assert "'entry.priority' is a list, not a whole number; ignored (4,000 times)" in remarks(document)
    names = ("enabled", "constant", "insertion_order", "priority", "name", "comment", "use_regex")
    wrong: dict[str, Any] = {name: [] for name in names}
    assert "has more than 25,000 values" in error_text(
        to_json(v2(character_book={"entries": [wrong] * 4_000}))
    )


def test_equal_values_of_entries_are_read_alike_and_remarked_on_each_time() -> None:
    """A value that another entry has, too, is read by its type, and its remark is counted."""
    entries = [
        {"priority": 10**12, "extensions": {"sticky": value, "scan_depth": value}} for value in (1, True, 1)
    ]
    document = v2(character_book={"entries": entries, "extensions": {}})
    lorebook = read_persona(to_json(document)).lorebook
    assert lorebook is not None
    assert [(entry.sticky, entry.scan_depth) for entry in lorebook.entries] == [(1, 1), (0, None), (1, 1)]
    found = remarks(document)
    assert "'entry.priority' is out of the range -1,000,000,000 to 1,000,000,000; ignored (3 times)" in found
    assert "'entry.extensions.sticky' is true or false, not a whole number; ignored" in found
