"""Decorators: the lines at the start of an entry's content that set its fields."""

import json
from typing import Any

import pytest

from hermes_cli.messages import Role
from hermes_cli.personas.formats import decorators, registry
from hermes_cli.personas.lorebook import Logic, LoreEntry, Position
from tests.personas.formats.cards import entry, read_persona, remarks, to_json, v2

PLAIN = LoreEntry("text", ("key",), order=1, priority=1)


def card_with_entry(content: str, **fields: Any) -> dict[str, Any]:
    """Return a V2 card whose book has one entry."""
    raw = {"keys": ["key"], "content": content, "extensions": {}, "enabled": True, "insertion_order": 1}
    return v2(character_book={"extensions": {}, "entries": [raw | fields]}, extensions={})


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("@@depth 2", {"position": Position.DEPTH, "depth": 2}),
        ("@@depth 0", {"position": Position.DEPTH, "depth": 0}),
        ("@@scan_depth 7", {"scan_depth": 7}),
        ("@@position before_desc", {"position": Position.BEFORE}),
        ("@@position after_desc", {"position": Position.AFTER}),
        ("@@position personality", {"position": Position.AFTER}),
        ("@@depth 3\n@@position scenario", {"position": Position.AFTER, "depth": 3}),
        ("@@role assistant\n@@depth 1", {"role": Role.ASSISTANT, "position": Position.DEPTH, "depth": 1}),
        ("@@activate_only_after 3", {"after_answers": 3}),
        ("@@is_greeting 0", {"greeting": 0}),
        ("@@activate", {"constant": True}),
        ("@@dont_activate", {"enabled": False}),
        ("@@additional_keys a, b c", {"secondary": ("a", "b c"), "logic": Logic.AND_ANY}),
        ("@@exclude_keys a", {"secondary": ("a",), "logic": Logic.NOT_ANY}),
        ("@@keep_activate_after_match", {"sticky": decorators.FOREVER}),
        ("@@dont_activate_after_match", {"cooldown": decorators.FOREVER}),
        ("@@depth 2\n@@scan_depth 3", {"position": Position.DEPTH, "depth": 2, "scan_depth": 3}),
        ("@@scan_depth 1\n@@scan_depth 2", {"scan_depth": 1}),
        ("@@activate\n@@dont_activate", {"constant": True, "enabled": True}),
        ("@@unknown 1\n@@@depth 3", {"position": Position.DEPTH, "depth": 3}),
        ("@@depth 1\n@@@scan_depth 3", {"position": Position.DEPTH, "depth": 1}),
        ("@@position elsewhere\n@@@unknown\n@@@depth 3", {"position": Position.DEPTH, "depth": 3}),
    ],
)
def test_a_decorator_sets_fields_and_is_removed_from_the_text(line: str, changes: dict[str, Any]) -> None:
    """A decorator sets fields of the entry and is removed from its text."""
    assert entry(content=f"{line}\ntext") == PLAIN._replace(**changes)
    assert entry(content=f"\r\n{line}\r\n\ntext") == PLAIN._replace(**changes)


@pytest.mark.parametrize(
    "line",
    [
        "@@depth -1",
        "@@depth two",
        "@@depth 99999",
        "@@depth \u0662",
        "@@is_greeting x",
        "@@role narrator",
        "@@additional_keys",
    ],
)
def test_an_unknown_decorator_is_left_out_with_a_remark(line: str) -> None:
    """An unknown or invalid decorator is removed from the text, with a remark."""
    assert entry(content=f"{line}\ntext") == PLAIN
    assert f"the decorator {line.split(maxsplit=1)[0]} is left out" in remarks(
        card_with_entry(f"{line}\ntext")
    )


@pytest.mark.parametrize("content", ["text\n@@depth 2", "@depth 2\ntext", " @@depth 2", "\n\ntext", ""])
def test_a_text_without_decorators_at_its_start_is_unchanged(content: str) -> None:
    """A text that does not begin with decorators is unchanged."""
    assert entry(content=content) == PLAIN._replace(content=content)


def changed_entry(original: str, **changes: Any) -> Any:
    """Return the JSON of a book's entry after a change of its fields."""
    data = to_json(card_with_entry(original))
    persona = read_persona(data)
    assert persona.lorebook
    (lore_entry,) = persona.lorebook.entries
    new = persona._replace(lorebook=persona.lorebook._replace(entries=(lore_entry._replace(**changes),)))
    written = registry.write(new, "v2", data)
    assert read_persona(written).lorebook == new.lorebook
    return json.loads(written)["data"]["character_book"]["entries"][0]


def test_a_new_text_keeps_the_decorators_of_the_old_one() -> None:
    """A new text keeps the decorators above the old one."""
    written = changed_entry("@@depth 2\n@@theirs\ntext", content="new")
    assert written["content"] == "@@depth 2\n@@theirs\nnew"


def test_a_new_depth_removes_the_decorator_of_the_old_depth() -> None:
    """A new depth removes the decorator of the old depth and keeps the others."""
    written = changed_entry("@@depth 2\n@@theirs\ntext", depth=9)
    assert written["content"] == "@@theirs\n\ntext"
    assert written["extensions"]["depth"] == 9


def test_decorators_above_the_maximum_number_are_text() -> None:
    """Decorators above the maximum number are text."""
    many = decorators.split("@@theirs\n" * 300_000)
    assert len(many.unknown) == decorators.MOST
    assert many.content.startswith("@@theirs\n@@theirs")
