"""Cards in PNG pictures: which chunk counts, bad pictures, and the chunks that a change keeps."""

import json
import zlib
from dataclasses import replace
from typing import Any

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import png, registry
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import (
    CARD,
    V1,
    V2,
    V3,
    chunk,
    chunks,
    encoded,
    persona,
    picture,
    refused,
    said,
    spoken,
    text,
    v2,
)

OTHER = chunk(b"tEXt", b"Software\0theirs")


@pytest.mark.parametrize("document", [V1, V2, V3])
def test_a_card_plays_out_of_its_picture(document: Any) -> None:
    """A card in a picture is read like the card alone."""
    found = persona(picture(OTHER, said("chara", document)))
    assert replace(found, kind="") == replace(persona(text(document)), kind="")
    assert found.kind == "png"


def test_the_newer_card_of_two_counts_wherever_it_stands() -> None:
    """A V3 card comes before a V2 card, in either order."""
    for order in ((said("chara", V2), said("ccv3", V3)), (said("ccv3", V3), said("chara", V2))):
        assert persona(picture(*order)).nickname == "Countess"


def test_of_two_cards_under_one_keyword_the_first_counts() -> None:
    """Of two cards with the same keyword the first one is read."""
    assert persona(picture(said("chara", V2), said("chara", v2(name="Old")))).name == "Ada"


@pytest.mark.parametrize(
    "made",
    [
        said("Chara", V2),
        said("CCV3", V2),
        chunk(b"zTXt", b"chara\0\0" + zlib.compress(encoded(V2))),
        chunk(b"iTXt", b"chara\0\0\0en\0title\0" + encoded(V2)),
        chunk(b"iTXt", b"chara\0\1\0en\0title\0" + zlib.compress(encoded(V2))),
        chunk(b"tEXt", b"chara\0" + encoded(V2).rstrip(b"=")),
        chunk(b"tEXt", b"chara\0" + b"\n".join((encoded(V2)[:77], encoded(V2)[77:], b""))),
        chunk(b"tEXt", b"chara\0" + text(V2)),
    ],
    ids=["capital", "capitals", "zTXt", "iTXt", "iTXt-deflated", "unpadded", "lines", "plain"],
)
def test_every_way_in_which_programs_spell_the_chunk_is_read(made: bytes) -> None:
    """Every known form of the text chunk is read."""
    assert persona(picture(made)).name == "Ada"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (picture(OTHER), "an image without a character card"),
        (picture(said("chara", V2))[:-3], "is cut short"),
        (picture(said("chara", V2))[:60], "is cut short"),
        (
            picture(said("chara", V2)).replace(b"chara\0e", b"chara\0f"),
            "a checksum at byte 55 does not match",
        ),
        (picture(chunk(b"tEXt", b"chara\0!!!!")), "is not base64"),
        (picture(chunk(b"tEXt", b"chara\0AAAAA")), "is not base64"),
        (picture(chunk(b"tEXt", b"chara\0" + encoded(V2)[:-4])), "is not JSON"),
        (picture(said("chara", [1])), "'chara' chunk is not a character card"),
        (picture(said("ccv3", {"name": "A"}), said("chara", V2)), "'ccv3' chunk is not a character card"),
        (picture(chunk(b"zTXt", b"chara\0\0rubbish")), "its card is damaged"),
        (picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(encoded(V2))[:-9])), "its card is damaged"),
        (picture(chunk(b"zTXt", b"chara")), "without a character card"),
        (picture(chunk(b"tEXt", b"chara\0" + b"A" * (6 << 20))), "larger than 4 MiB"),
        (picture(*[chunk(b"teSt", b"")] * 50_001), "more than 50,000 chunks"),
        (b"\x89PNG\r\n\x1a\n", "is cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_picture_is_refused_with_its_reason(data: bytes, told: str) -> None:
    """A damaged picture and one without a card are refused with their reasons."""
    assert told in refused(data)


def test_a_card_that_inflates_without_end_is_refused() -> None:
    """A compressed card larger than 4 MiB is refused."""
    bomb = zlib.compress(b"A" * (300 << 20), 9)
    assert len(bomb) < 400_000
    assert "larger than 4 MiB" in refused(picture(chunk(b"zTXt", b"chara\0\0" + bomb)))


def test_a_picture_that_nobody_changed_is_written_as_it_was() -> None:
    """An unchanged persona is written as the same picture."""
    data = picture(OTHER, said("Chara", V2), chunk(b"iTXt", b"ccv3\0\0\0\0\0" + encoded(V3))) + b"trailing"
    assert registry.write(persona(data), "png", data) == data


def test_a_change_changes_its_own_chunk_and_no_other() -> None:
    """A change rewrites the chunk of the card and keeps the other chunks and trailing bytes."""
    data = picture(OTHER, said("chara", V2), chunk(b"prVt", b"x")) + b"trailing"
    made = registry.write(replace(persona(data), personality="kind"), "png", data)
    assert spoken(made[: -len(b"trailing")].replace(OTHER, b"")) == {"chara": v2(personality="kind")}
    old, new = chunks(data[:-8]), chunks(made[:-8])
    assert [one for one in new if not one[1].startswith(b"chara")] == [
        one for one in old if not one[1].startswith(b"chara")
    ]
    assert made.endswith(b"trailing")


def test_both_cards_of_a_picture_are_changed_and_stale_copies_go() -> None:
    """A change rewrites both cards of a picture and removes stale copies."""
    data = picture(said("chara", V2), said("ccv3", V3), said("ccv3", v2(name="Old")))
    made = registry.write(replace(persona(data), scenario="Now."), "png", data)
    v3 = {**V3, "data": {**V3["data"], "scenario": "Now."}}
    assert spoken(made) == {"chara": v2(scenario="Now."), "ccv3": v3}
    assert sum(content.startswith(b"ccv3") for _, content in chunks(made)) == 1


def test_a_persona_without_a_picture_gets_a_plain_one() -> None:
    """A persona without a picture is written into a plain valid one."""
    made = registry.write(Persona("Ada", "", CARD, character="x"), "png", None)
    assert [kind for kind, _ in chunks(made)] == [b"IHDR", b"IDAT", b"tEXt", b"tEXt", b"IEND"]
    assert {key: one["spec"] for key, one in spoken(made).items()} == {
        "chara": "chara_card_v2",
        "ccv3": "chara_card_v3",
    }
    (_, head), (_, pixels), *_ = chunks(made)
    width, height = int.from_bytes(head[:4]), int.from_bytes(head[4:8])
    assert head[8:] == b"\x08\0\0\0\0"
    assert len(zlib.decompress(pixels)) == (width + 1) * height
    assert png.blank() == b"".join((made[:8], *(chunk(*one) for one in chunks(made) if one[0] != b"tEXt")))


def test_the_card_of_another_kind_goes_into_a_picture_whole() -> None:
    """A JSON card keeps its fields in a picture."""
    made = spoken(registry.write(persona(text(V2)), "png", text(V2)))
    assert made["chara"] == V2
    assert made["ccv3"]["data"]["tags"] == ["history"]
    assert json.dumps(made["ccv3"]["data"]["extensions"]) == json.dumps(V2["data"]["extensions"])


def test_what_is_no_picture_cannot_take_a_card() -> None:
    """Writing a card into a damaged picture is refused."""
    with pytest.raises(PersonaError, match="is cut short"):
        registry.write(Persona("Ada", "", CARD), "png", picture(said("chara", V2))[:-1])
