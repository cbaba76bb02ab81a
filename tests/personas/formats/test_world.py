"""SillyTavern's world files, and other lorebooks in files without a card."""

from typing import Any

import pytest

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
    expected = {name: getattr(ENGINE, name) for name in ENGINE.__slots__} | {
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
            3,
            500,
            True,
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


def test_a_character_filter_that_is_set_gets_a_remark() -> None:
    """A character filter that is set is remarked on as unused; an empty one is not."""
    raw = {"key": ["a"], "content": "b", "characterFilter": {"names": ["Bob"], "tags": []}}
    joined = "; ".join(registry.read(to_json({"entries": {"0": raw}}), CARD).remarks)
    assert "'character_filter', which hermes does not use" in joined
    assert "character_filter" not in "; ".join(registry.read(to_json(WORLD), CARD).remarks)


def test_a_world_with_too_many_entries_is_refused() -> None:
    """A world of more than 10,000 entries is refused."""
    assert "has 10,001 entries" in error_text(to_json({"entries": [{}] * 10_001}))
