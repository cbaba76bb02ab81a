"""Cards in PNG pictures: which chunk counts, bad pictures, and the chunks that a change keeps."""

import base64
import json
import struct
import zlib
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
    card_chunk,
    cards_in_png,
    chunk,
    chunks,
    error_text,
    picture,
    read_persona,
    to_base64,
    to_json,
    v2,
)

OTHER = chunk(b"tEXt", b"Software\0theirs")


@pytest.mark.parametrize("document", [V1, V2, V3])
def test_a_card_in_a_picture_is_read_like_the_card_alone(document: Any) -> None:
    """A card in a picture is read like the card alone."""
    persona = read_persona(picture(OTHER, card_chunk("chara", document)))
    assert persona._replace(kind="") == read_persona(to_json(document))._replace(kind="")
    assert persona.kind == "png"


def test_a_v3_card_comes_before_a_v2_card_in_either_order() -> None:
    """A V3 card comes before a V2 card, in either order."""
    for order in (
        (card_chunk("chara", V2), card_chunk("ccv3", V3)),
        (card_chunk("ccv3", V3), card_chunk("chara", V2)),
    ):
        assert read_persona(picture(*order)).nickname == "Countess"


def test_the_first_of_two_cards_with_the_same_keyword_is_read() -> None:
    """Of two cards with the same keyword the first one is read."""
    assert read_persona(picture(card_chunk("chara", V2), card_chunk("chara", v2(name="Old")))).name == "Ada"


@pytest.mark.parametrize(
    "card",
    [
        card_chunk("Chara", V2),
        card_chunk("CCV3", V2),
        chunk(b"zTXt", b"chara\0\0" + zlib.compress(to_base64(V2))),
        chunk(b"iTXt", b"chara\0\0\0en\0title\0" + to_base64(V2)),
        chunk(b"iTXt", b"chara\0\1\0en\0title\0" + zlib.compress(to_base64(V2))),
        chunk(b"tEXt", b"chara\0" + to_base64(V2).rstrip(b"=")),
        chunk(b"tEXt", b"chara\0" + b"\n".join((to_base64(V2)[:77], to_base64(V2)[77:], b""))),
        chunk(b"tEXt", b"chara\0" + to_json(V2)),
        chunk(b"tEXt", b"chara\0" + base64.urlsafe_b64encode(to_json(v2(personality="???>>>")))),
    ],
    ids=["capital", "capitals", "zTXt", "iTXt", "iTXt-deflated", "unpadded", "lines", "plain", "url-safe"],
)
def test_every_known_form_of_the_text_chunk_is_read(card: bytes) -> None:
    """Every known form of the text chunk is read."""
    assert read_persona(picture(card)).name == "Ada"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (picture(OTHER), "an image without a character card"),
        (picture(card_chunk("chara", V2))[:-3], "is cut short"),
        (picture(card_chunk("chara", V2))[:60], "is cut short"),
        (
            picture(card_chunk("chara", V2)).replace(b"chara\0e", b"chara\0f"),
            "a checksum at byte 55 does not match",
        ),
        (picture(chunk(b"tEXt", b"chara\0!!!!")), "is not base64"),
        (picture(chunk(b"tEXt", b"chara\0AAAAA")), "is not base64"),
        (picture(chunk(b"tEXt", b"chara\0" + to_base64(V2)[:-4])), "is not JSON"),
        (picture(card_chunk("chara", [1])), "'chara' chunk is not a character card"),
        (
            picture(card_chunk("ccv3", {"name": "A"}), card_chunk("chara", V2)),
            "'ccv3' chunk is not a character card",
        ),
        (picture(chunk(b"zTXt", b"chara\0\0rubbish")), "its card is damaged"),
        (picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(to_base64(V2))[:-9])), "its card is damaged"),
        (picture(chunk(b"zTXt", b"chara")), "without a character card"),
        (picture(chunk(b"tEXt", b"chara\0" + b"A" * (6 << 20))), "larger than 4 MiB"),
        (picture(*[chunk(b"teSt", b"")] * 50_001), "more than 50,000 chunks"),
        (b"\x89PNG\r\n\x1a\n", "is cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_picture_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """A damaged picture and one without a card are refused with their reasons."""
    assert reason in error_text(data)


def test_a_compressed_card_larger_than_4_mib_is_refused() -> None:
    """A compressed card larger than 4 MiB is refused."""
    bomb = zlib.compress(b"A" * (300 << 20), 9)
    assert len(bomb) < 400_000
    assert "larger than 4 MiB" in error_text(picture(chunk(b"zTXt", b"chara\0\0" + bomb)))


def test_an_unchanged_persona_is_written_as_the_same_picture() -> None:
    """An unchanged persona is written as the same picture."""
    data = (
        picture(OTHER, card_chunk("Chara", V2), chunk(b"iTXt", b"ccv3\0\0\0\0\0" + to_base64(V3)))
        + b"trailing"
    )
    assert registry.write(read_persona(data), "png", data) == data


def test_a_change_rewrites_only_the_chunk_of_the_card() -> None:
    """A change rewrites the chunk of the card and keeps the other chunks and trailing bytes."""
    data = picture(OTHER, card_chunk("chara", V2), chunk(b"prVt", b"x")) + b"trailing"
    changed = registry.write(read_persona(data)._replace(personality="kind"), "png", data)
    assert cards_in_png(changed[: -len(b"trailing")].replace(OTHER, b"")) == {"chara": v2(personality="kind")}
    old, new = chunks(data[:-8]), chunks(changed[:-8])
    assert [item for item in new if not item[1].startswith(b"chara")] == [
        item for item in old if not item[1].startswith(b"chara")
    ]
    assert changed.endswith(b"trailing")


def test_both_cards_are_changed_and_stale_copies_are_removed() -> None:
    """A change rewrites both cards of a picture and removes stale copies."""
    data = picture(card_chunk("chara", V2), card_chunk("ccv3", V3), card_chunk("ccv3", v2(name="Old")))
    changed = registry.write(read_persona(data)._replace(scenario="Now."), "png", data)
    v3 = {**V3, "data": {**V3["data"], "scenario": "Now."}}
    assert cards_in_png(changed) == {"chara": v2(scenario="Now."), "ccv3": v3}
    assert sum(content.startswith(b"ccv3") for _, content in chunks(changed)) == 1


def test_a_persona_without_a_picture_gets_a_plain_one() -> None:
    """A persona without a picture is written into a plain valid one."""
    data = registry.write(Persona("Ada", "", CARD, character="x"), "png", None)
    assert [kind for kind, _ in chunks(data)] == [b"IHDR", b"IDAT", b"tEXt", b"tEXt", b"IEND"]
    assert {key: item["spec"] for key, item in cards_in_png(data).items()} == {
        "chara": "chara_card_v2",
        "ccv3": "chara_card_v3",
    }
    (_, head), (_, pixels), *_ = chunks(data)
    width, height = int.from_bytes(head[:4]), int.from_bytes(head[4:8])
    assert head[8:] == b"\x08\0\0\0\0"
    assert len(zlib.decompress(pixels)) == (width + 1) * height
    assert png.blank() == b"".join((data[:8], *(chunk(*item) for item in chunks(data) if item[0] != b"tEXt")))


def test_a_json_card_keeps_its_fields_in_a_picture() -> None:
    """A JSON card keeps its fields in a picture."""
    cards = cards_in_png(registry.write(read_persona(to_json(V2)), "png", to_json(V2)))
    assert cards["chara"] == V2
    assert cards["ccv3"]["data"]["tags"] == ["history"]
    assert json.dumps(cards["ccv3"]["data"]["extensions"]) == json.dumps(V2["data"]["extensions"])


def test_writing_a_card_into_a_damaged_picture_is_refused() -> None:
    """Writing a card into a damaged picture is refused."""
    with pytest.raises(PersonaError, match="is cut short"):
        registry.write(Persona("Ada", "", CARD), "png", picture(card_chunk("chara", V2))[:-1])


HEAD = struct.pack(">IIBBBBB", 3, 2, 8, 3, 0, 0, 0)  # 3 x 2 pixels of a palette, 8 bits each
PIXELS = chunk(b"IDAT", zlib.compress(b"\0\0\1\2" * 2))
PALETTE = chunk(b"PLTE", b"\0\0\0\x80\x80\x80\xff\xff\xff")


def image(*parts: bytes, head: bytes = HEAD) -> bytes:
    """Return a PNG of these chunks, between its header and its end."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(parts) + chunk(b"IEND", b"")


def test_a_picture_for_the_terminal_has_only_its_pixels() -> None:
    """Texts, unknown chunks and bytes after the end are left out, and the pixels stay."""
    transparency = chunk(b"tRNS", b"\0")
    theirs = (card_chunk("chara", V2), chunk(b"prVt", b"\x1b]0;x\x07"), chunk(b"iCCP", b"x\0\0"))
    data = image(theirs[0], PALETTE, transparency, theirs[1], PIXELS, theirs[2]) + b"\x1b[2J"
    assert png.picture(data, CARD) == png.Picture(image(PALETTE, transparency, PIXELS), 3, 2)


def test_pixels_in_several_chunks_are_joined() -> None:
    """The content of all IDAT chunks is one stream."""
    stream = zlib.compress(b"\0\0\1\2" * 2)
    data = image(PALETTE, chunk(b"IDAT", stream[:5]), chunk(b"IDAT", stream[5:]))
    assert png.picture(data, CARD) == png.Picture(image(PALETTE, PIXELS), 3, 2)


def test_the_plain_grey_picture_is_not_shown() -> None:
    """The picture of an exported persona that had none is no picture."""
    assert png.picture(png.blank(), CARD) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (image(PALETTE), "damaged"),
        (image(PIXELS), "damaged"),
        (image(PALETTE, PALETTE, PIXELS), "damaged"),
        (image(chunk(b"PLTE", b"\0\0"), PIXELS), "damaged"),
        (image(chunk(b"PLTE", b"\0" * 771), PIXELS), "damaged"),
        (image(PALETTE, chunk(b"tRNS", b"\0" * 257), PIXELS), "damaged"),
        (image(PALETTE, PIXELS, head=HEAD[:-1]), "damaged"),
        (image(PALETTE, PIXELS, head=b"\0" * 4 + HEAD[4:]), "damaged"),
        (image(PIXELS, head=struct.pack(">IIBBBBB", 3, 2, 3, 2, 0, 0, 0)), "damaged"),
        (image(PIXELS, head=struct.pack(">IIBBBBB", 3, 2, 8, 2, 1, 0, 0)), "damaged"),
        (image(PIXELS, head=struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 2)), "damaged"),
        (image(PIXELS, head=struct.pack(">IIBBBBB", 4097, 2, 8, 2, 0, 0, 0)), "4,097 x 2 pixels in 0.0 MiB"),
        (image(PIXELS, head=struct.pack(">IIBBBBB", 2, 2**31 - 1, 8, 2, 0, 0, 0)), "too large"),
        (image(PALETTE, chunk(b"IDAT", b"x" * (4 << 20)), chunk(b"IDAT", b"x")), "in 4.0 MiB"),
        (image(PALETTE, PIXELS)[:-1], "cut short"),
        (image(PALETTE, PIXELS[:-1] + b"\0"), "checksum"),
    ],
)
def test_an_invalid_or_large_picture_is_not_shown(data: bytes, message: str) -> None:
    """A damaged picture and one with many pixels or bytes are refused; its pixels are not decoded."""
    with pytest.raises(PersonaError, match=message):
        png.picture(data, CARD)
