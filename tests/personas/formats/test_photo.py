"""Cards in the metadata of WebP and JPEG images."""

import base64
import io
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import photo, registry
from tests.personas.formats.cards import (
    CARD,
    V2,
    V3,
    error_text,
    exif,
    jpeg,
    read_persona,
    to_base64,
    to_json,
    v2,
    webp,
)

ASCII = b"ASCII\0\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
NUMBERS = ",".join(map(str, to_json(V2))).encode()
WIDE = v2(name="\u767d\u68e0")


def xmp(**properties: bytes) -> bytes:
    """Return XMP with these properties."""
    items = b" ".join(b'st:%b="%b"' % (key.encode(), text) for key, text in properties.items())
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description ' + items + b"/></x:xmpmeta>"


@pytest.mark.parametrize("document", [V2, V3])
def test_a_card_in_a_photo_is_read_like_the_card_alone(document: Any) -> None:
    """The persona differs only in its format."""
    alone = read_persona(to_json(document))._replace(kind="")
    for data, kind in (
        (webp((b"EXIF", exif(to_base64(document)))), "webp"),
        (jpeg(b"Exif\0\0" + exif(to_base64(document))), "jpeg"),
    ):
        persona = read_persona(data)
        assert (persona._replace(kind=""), persona.kind) == (alone, kind)


@pytest.mark.parametrize(
    "comment",
    [
        to_json(V2),
        ASCII + to_json(V2),
        ASCII + to_base64(V2),
        bytes(8) + to_base64(V2) + b"\0",
        b"UNICODE\0" + to_base64(V2).decode().encode("utf-16-le"),
        b"UNICODE\0" + to_base64(V2),
        NUMBERS,
        b"[" + NUMBERS + b"]",
        base64.urlsafe_b64encode(to_json(V2)).rstrip(b"="),
    ],
    ids=["json", "ascii", "base64", "no charset", "utf-16", "utf-8", "numbers", "list", "url-safe"],
)
def test_every_known_form_of_the_comment_is_read(comment: bytes) -> None:
    """Programs write the UserComment in several forms."""
    assert read_persona(webp((b"EXIF", exif(comment)))).name == "Ada"


def test_the_byte_order_the_prefix_and_the_directory_of_exif_may_vary() -> None:
    """Big-endian data, a prefix in WebP, and a comment in the main directory are read."""
    for data in (
        exif(to_base64(V2), ">"),
        b"Exif\0\0" + exif(to_base64(V2)),
        exif(to_base64(V2), in_main=True),
    ):
        assert read_persona(webp((b"EXIF", data))).name == "Ada"


def test_a_card_in_xmp_is_read_and_v3_comes_first() -> None:
    """XMP is read from both containers, as an attribute and as an element."""
    both = xmp(chara=to_base64(V2), ccv3=to_base64(V3))
    element = b"<rdf:Description><st:chara>\n" + to_base64(V2) + b"\n</st:chara></rdf:Description>"
    assert read_persona(webp((b"XMP ", both))).nickname == "Countess"
    assert read_persona(jpeg(XMP + both)).nickname == "Countess"
    assert read_persona(webp((b"XMP ", element))).name == "Ada"


def test_a_long_xmp_text_is_joined_from_its_parts() -> None:
    """The parts are in the segments of a JPEG file, each with its place."""
    text = xmp(chara=to_base64(v2(description="x" * 90_000)))
    parts = [
        MORE_XMP + b"f" * 32 + struct.pack(">II", len(text), at) + text[at : at + 60_000]
        for at in range(0, len(text), 60_000)
    ]
    assert len(parts) == 3
    persona = read_persona(jpeg(XMP + b"<x:xmpmeta/>", parts[2], parts[0], parts[1]))
    assert persona.character == "x" * 90_000


def test_url_safe_base64_is_read() -> None:
    """The alphabet with - and _ is read like the standard one."""
    document = v2(name="???>>>\u767d\u68e0")
    text = base64.urlsafe_b64encode(to_json(document))
    assert b"-" in text or b"_" in text
    assert read_persona(webp((b"EXIF", exif(text)))).name == "???>>>\u767d\u68e0"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (webp(), "an image without a character card"),
        (jpeg(), "an image without a character card"),
        (jpeg(b"Exif\0\0" + exif(ASCII + b"Taken in Paris")), "an image without a character card"),
        (webp((b"EXIF", exif(to_base64(V2))))[:-9], "is cut short"),
        (webp((b"EXIF", exif(to_base64(V2))[:-9])), "its Exif data is damaged"),
        (webp((b"EXIF", exif(b"e!!!!!"))), "is not base64"),
        (webp((b"EXIF", exif(b"[1,2]"))), "without a character card"),
        (webp((b"EXIF", exif(b"{    }"))), "'UserComment' metadata is not a character card"),
        (webp((b"EXIF", exif(b"e" * (6 << 20)))), "larger than 4 MiB"),
        (webp(*[(b"ABCD", b"")] * 50_001), "more than 50,000 chunks"),
        (jpeg(*[b""] * 50_001), "more than 50,000 segments"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_photo_without_a_usable_card_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """The reason names what is wrong."""
    assert reason in error_text(data)


def test_a_card_from_a_photo_can_be_exported_as_a_png() -> None:
    """Its fields are kept, and its image is a plain one."""
    data = webp((b"EXIF", exif(to_base64(V3))))
    persona = read_persona(data)
    again = read_persona(registry.write(persona, "png", data))
    assert (again.nickname, again.lorebook) == (persona.nickname, persona.lorebook)


def test_cards_that_pillow_wrote_are_read() -> None:
    """Another program's Exif and XMP are read."""
    image = pytest.importorskip("PIL.Image").new("RGB", (2, 2))
    for kind in ("webp", "jpeg"):
        directories = image.getexif()
        directories.get_ifd(0x8769)[0x9286] = ASCII + to_base64(V2)
        for metadata in ({"exif": directories.tobytes()}, {"xmp": xmp(chara=to_base64(V2))}):
            out = io.BytesIO()
            image.save(out, kind, **metadata)
            persona = read_persona(out.getvalue())
            assert (persona.name, persona.kind) == ("Ada", kind)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_photos_raise_only_persona_errors(data: st.DataObject) -> None:
    """No change of the bytes causes another exception."""
    samples = (
        webp((b"EXIF", exif(to_base64(V2)))),
        jpeg(b"Exif\0\0" + exif(to_json(V2)), XMP + xmp(chara=b"e30=")),
    )
    damaged = bytearray(data.draw(st.sampled_from(samples)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(damaged), 200)))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    try:
        card = photo.read(bytes(damaged), CARD)
    except PersonaError as error:
        assert str(CARD) in error.message  # noqa: PT017 - most bytes raise it
    else:
        assert isinstance(card, dict)
