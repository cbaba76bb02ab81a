"""SillyTavern's world files, and other lorebooks in files without a card."""

from typing import Any

import pytest

from hermes_cli.messages import Role
from hermes_cli.personas.formats import registry
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from tests.personas.formats.cards import BOOK, CARD, error_text, to_json
from tests.personas.formats.test_card import ENGINE, TEA

WORLD: dict[str, Any] = {
    "entries": {
        "0": {
            "uid": 0,
            "key": ["engine", "/analy\\w+/i"],
            "keysecondary": ["Babbage"],
            "comment": "The engine",
            "content": "The engine weaves algebra.",
            "constant": True,
            "vectorized": False,
            "selective": True,
            "selectiveLogic": 3,
            "addMemo": True,
            "order": 5,
            "position": 4,
            "disable": False,
            "excludeRecursion": True,
            "preventRecursion": True,
            "delayUntilRecursion": True,
            "probability": 40,
            "useProbability": True,
            "depth": 2,
            "group": "",
            "scanDepth": 7,
            "caseSensitive": True,
            "matchWholeWords": True,
            "sticky": 2,
            "cooldown": 3,
            "delay": 1,
            "ignoreBudget": True,
            "displayIndex": 0,
            "characterFilter": {"isExclude": False, "names": [], "tags": []},
        },
        "7": {
            "uid": 7,
            "key": ["tea"],
            "content": "She takes it black.",
            "disable": True,
            "order": 1,
            "position": 0,
        },
    }
}


def lorebook(document: Any) -> Lorebook:
    """Return the lorebook of a document."""
    result = registry.read(to_json(document), CARD)
    assert (result.kind, result.persona) == ("world", None)
    assert result.lorebook is not None
    return result.lorebook


def test_every_field_of_a_world_file_is_read() -> None:
    """Each field of a world file sets the field of the entry."""
    first, second = lorebook(WORLD).entries
    expected = {name: getattr(ENGINE, name) for name in ENGINE._fields} | {
        "priority": 5,
        "ignores_budget": True,
    }
    assert first == LoreEntry(**expected)
    assert second == TEA


def test_a_world_has_its_own_name_or_that_of_its_file() -> None:
    """A world has its own name, or else the name of its file."""
    assert lorebook(WORLD).name == "card"
    assert lorebook(WORLD | {"name": "London"}).name == "London"
    assert lorebook(WORLD).source == CARD


def test_a_cards_book_without_the_card_is_a_world() -> None:
    """A card's book without the card is a world."""
    for document in (BOOK, {"spec": "lorebook_v3", "data": BOOK}):
        book = lorebook(document)
        assert book.entries == (ENGINE, TEA)
        assert (book.name, book.scan_depth, book.token_budget, book.recursive) == (
            "Engines",
            None,
            None,
            None,
        )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"key": ["a"], "keysecondary": ["b"], "content": "c"}, LoreEntry("c", ("a",), priority=100)),
        (
            {"key": ["a"], "keysecondary": ["b"], "selective": True, "selectiveLogic": 2, "content": "c"},
            LoreEntry("c", ("a",), secondary=("b",), logic=Logic.NOT_ANY, priority=100),
        ),
        ({"key": [], "content": "c", "position": 6}, LoreEntry("c", position=Position.AFTER, priority=100)),
        ({"key": ["a"], "content": None, "disable": "x"}, LoreEntry("", ("a",), priority=100)),
    ],
)
def test_an_entry_without_newer_fields_is_read_with_defaults(
    raw: dict[str, Any], expected: LoreEntry
) -> None:
    """An entry without newer fields is read with their defaults."""
    assert lorebook({"entries": {"0": raw}}).entries == (expected,)


def world_entry(**fields: Any) -> tuple[LoreEntry, str]:
    """Return the entry of a world file that has one, and the remarks."""
    raw = {"key": ["a"], "content": "b"} | fields
    result = registry.read(to_json({"entries": {"0": raw}}), CARD)
    assert result.lorebook is not None
    return result.lorebook.entries[0], "; ".join(result.remarks)


def test_a_character_filter_limits_an_entry_to_characters() -> None:
    """The names of a filter are read; its tags are remarked on as unused."""
    entry, remark = world_entry(characterFilter={"isExclude": False, "names": ["Bob"], "tags": []})
    assert (entry.characters, entry.except_characters, remark) == (("Bob",), (), "")
    entry, remark = world_entry(characterFilter={"isExclude": True, "names": ["Bob"], "tags": ["t1"]})
    assert (entry.characters, entry.except_characters) == ((), ("Bob",))
    assert "limited to characters with a tag" in remark


@pytest.mark.parametrize(
    ("delay", "expected"),
    [(False, (False, 1)), (True, (True, 1)), (0, (False, 1)), (1, (True, 1)), (3, (True, 3))],
)
def test_a_delay_until_recursion_may_have_a_level(delay: Any, expected: tuple[bool, int]) -> None:
    """A delay until recursion is a boolean or a level."""
    entry, _ = world_entry(delayUntilRecursion=delay)
    assert (entry.only_recursion, entry.recursion_level) == expected


def test_the_texts_that_an_entry_matches_are_read() -> None:
    """Each flag of SillyTavern names a text of the persona or of the user."""
    flags = ("PersonaDescription", "CharacterDescription", "CharacterPersonality", "CharacterDepthPrompt")
    set_flags = {f"match{name}": True for name in (*flags, "Scenario", "CreatorNotes")}
    assert world_entry(**set_flags)[0].matches == (
        *("user", "character", "personality", "note", "scenario", "creator_notes"),
    )
    assert world_entry(matchScenario=False)[0].matches == ()


def test_the_role_of_an_entry_is_read() -> None:
    """SillyTavern's role numbers give the role; without one it is the system's."""
    roles = [world_entry(role=number)[0].role for number in (0, 1, 2, None)]
    assert roles == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.SYSTEM]


@pytest.mark.parametrize(
    ("fields", "remark"),
    [
        ({"automationId": "x"}, "'automation_id', which hermes does not use"),
        ({"position": 2}, "around the author's note are placed 4 turns from the end"),
        ({"position": 3}, "around the author's note are placed 4 turns from the end"),
        ({"position": 5}, "around the examples are placed after the character's description"),
        ({"position": 6}, "around the examples are placed after the character's description"),
        ({"matchScenario": False, "automationId": "", "position": 4, "role": 2}, ""),
    ],
)
def test_what_an_import_loses_is_remarked_on(fields: dict[str, Any], remark: str) -> None:
    """A field that hermes does not use, and a position that it replaces, get a remark."""
    assert (world_entry(**fields)[1] == "") if not remark else (remark in world_entry(**fields)[1])


def test_a_world_with_too_many_entries_is_refused() -> None:
    """A world of more than 4,000 entries is refused."""
    assert "has 4,001 entries" in error_text(to_json({"entries": [{}] * 4_001}))
