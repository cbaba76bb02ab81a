"""Cards by tavern-card are read by hermes, and the reverse: V1 to V3, as JSON and in a PNG."""

from dataclasses import replace
from typing import Any

import pytest
import tavern_card

from hermes_cli.personas.formats import png, registry
from tests.personas.formats.cards import V1, V2, V3, persona, text


@pytest.mark.parametrize("document", [V1, V2, V3], ids=["v1", "v2", "v3"])
@pytest.mark.parametrize("kind", ["v1", "v2", "v3", "png"])
def test_what_hermes_writes_tavern_card_reads_whole(document: Any, kind: str) -> None:
    """All fields of a card that hermes writes are read by tavern-card.

    From a V1 card tavern-card reads its six texts, and `creator` and `tags`.
    """
    data = text(document)
    written = registry.write(persona(data), kind, data)
    read = tavern_card.parse_png_card if kind == "png" else tavern_card.parse_card
    found = read(written)["data"]
    wanted = tavern_card.parse_card(document)["data"]
    if kind == "v1":
        of_v1 = {*V1, "creator", "tags"}
        assert {key: found[key] for key in of_v1} == {key: wanted[key] for key in of_v1}
        return
    book = found.pop("character_book")
    theirs = wanted.pop("character_book")
    for one in (book or {}).get("entries", []):
        if "use_regex" not in theirs["entries"][book["entries"].index(one)]:
            one.pop("use_regex", None)  # V3 requires it
    assert book == theirs
    assert found == wanted


@pytest.mark.parametrize("document", [V1, V2, V3], ids=["v1", "v2", "v3"])
def test_what_tavern_card_writes_hermes_reads_whole(document: Any) -> None:
    """All fields of a card that tavern-card writes are read by hermes.

    The nickname is left out by tavern-card itself.
    """
    normal = tavern_card.parse_card(document)
    data = tavern_card.write_png_card(normal)
    wanted = replace(persona(text(document)), kind="", nickname="")
    assert replace(persona(data), kind="") == wanted
    assert replace(persona(text(normal)), kind="") == wanted
    changed = registry.write(replace(persona(data), scenario="Now."), "png", data)
    back = tavern_card.parse_png_card(changed)
    assert back == {**normal, "data": {**normal["data"], "scenario": "Now."}}


def test_a_card_into_hermes_own_picture_by_tavern_card() -> None:
    """A card that tavern-card writes into hermes' plain picture is read."""
    data = tavern_card.write_png_card(V2, png.blank())
    assert replace(persona(data), kind="v2") == persona(text(V2))
