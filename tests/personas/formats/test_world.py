"""SillyTavern's world files, and other lorebooks in files without a card."""

from typing import Any

import pytest

from hermes_cli.personas.formats import registry
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from tests.personas.formats.cards import BOOK, CARD, refused, text
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
    found = registry.read(text(document), CARD)
    assert (found.kind, found.persona) == ("world", None)
    assert found.lorebook is not None
    return found.lorebook


def test_every_field_of_a_world_is_where_hermes_looks_for_it() -> None:
    """Each field of a world file sets the field of the entry."""
    first, second = lorebook(WORLD).entries
    wanted = {name: getattr(ENGINE, name) for name in ENGINE.__slots__} | {
        "priority": 5,
        "ignores_budget": True,
    }
    assert first == LoreEntry(**wanted)
    assert second == TEA


def test_a_world_is_called_as_it_says_or_as_its_file() -> None:
    """A world has its own name, or else the name of its file."""
    assert lorebook(WORLD).name == "card"
    assert lorebook(WORLD | {"name": "London"}).name == "London"
    assert lorebook(WORLD).source == CARD


def test_a_cards_book_alone_is_a_world() -> None:
    """A card's book without the card is a world."""
    for document in (BOOK, {"spec": "lorebook_v3", "data": BOOK}):
        found = lorebook(document)
        assert found.entries == (ENGINE, TEA)
        assert (found.name, found.scan_depth, found.token_budget, found.recursive) == (
            "Engines",
            3,
            500,
            True,
        )


@pytest.mark.parametrize(
    ("raw", "wanted"),
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
def test_a_world_as_older_programs_write_it(raw: dict[str, Any], wanted: LoreEntry) -> None:
    """An entry without newer fields is read with their defaults."""
    assert lorebook({"entries": {"0": raw}}).entries == (wanted,)


def test_what_is_for_some_characters_only_is_told() -> None:
    """A character filter that is set is remarked on as unused; an empty one is not."""
    raw = {"key": ["a"], "content": "b", "characterFilter": {"names": ["Bob"], "tags": []}}
    told = "; ".join(registry.read(text({"entries": {"0": raw}}), CARD).remarks)
    assert "'character_filter', which hermes does not use" in told
    assert "character_filter" not in "; ".join(registry.read(text(WORLD), CARD).remarks)


def test_a_world_of_too_many_entries_is_refused() -> None:
    """A world of more than 10,000 entries is refused."""
    assert "has 10,001 entries" in refused(text({"entries": [{}] * 10_001}))
