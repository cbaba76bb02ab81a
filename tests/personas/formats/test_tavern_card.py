"""Cards by tavern-card are read by hermes, and the reverse: V1 to V3, as JSON and in a PNG."""

from typing import Any

import pytest
import tavern_card

from hermes_cli.personas.formats import png, registry
from tests.personas.formats.cards import V1, V2, V3, read_persona, to_json


@pytest.mark.parametrize("document", [V1, V2, V3], ids=["v1", "v2", "v3"])
@pytest.mark.parametrize("kind", ["v1", "v2", "v3", "png"])
def test_tavern_card_reads_all_fields_that_hermes_writes(document: Any, kind: str) -> None:
    """All fields of a card that hermes writes are read by tavern-card.

    From a V1 card tavern-card reads its six texts, and `creator` and `tags`.
    """
    data = to_json(document)
    written = registry.write(read_persona(data), kind, data)
    read = tavern_card.parse_png_card if kind == "png" else tavern_card.parse_card
    fields = read(written)["data"]
    expected = tavern_card.parse_card(document)["data"]
    if kind == "v1":
        of_v1 = {*V1, "creator", "tags"}
        assert {key: fields[key] for key in of_v1} == {key: expected[key] for key in of_v1}
        return
    book = fields.pop("character_book")
    expected_book = expected.pop("character_book")
    for lore_entry in (book or {}).get("entries", []):
        if "use_regex" not in expected_book["entries"][book["entries"].index(lore_entry)]:
            lore_entry.pop("use_regex", None)  # V3 requires it
    assert book == expected_book
    assert fields == expected


@pytest.mark.parametrize("document", [V1, V2, V3], ids=["v1", "v2", "v3"])
def test_hermes_reads_all_fields_that_tavern_card_writes(document: Any) -> None:
    """All fields of a card that tavern-card writes are read by hermes.

    The nickname is left out by tavern-card itself.
    """
    normal = tavern_card.parse_card(document)
    data = tavern_card.write_png_card(normal)
    expected = read_persona(to_json(document))._replace(kind="", nickname="")
    assert read_persona(data)._replace(kind="") == expected
    assert read_persona(to_json(normal))._replace(kind="") == expected
    changed = registry.write(read_persona(data)._replace(scenario="Now."), "png", data)
    back = tavern_card.parse_png_card(changed)
    assert back == {**normal, "data": {**normal["data"], "scenario": "Now."}}


def test_a_card_that_tavern_card_writes_into_a_plain_picture_is_read() -> None:
    """A card that tavern-card writes into hermes' plain picture is read."""
    data = tavern_card.write_png_card(V2, png.blank())
    assert read_persona(data)._replace(kind="v2") == read_persona(to_json(V2))
