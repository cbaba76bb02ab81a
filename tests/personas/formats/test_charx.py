"""CHARX archives: reading the card, refusing bad archives, and keeping the other members."""

import json
import struct
import zipfile
from dataclasses import replace
from typing import IO, cast

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import png, registry
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import (
    CARD,
    V3,
    archive,
    chunk,
    chunks,
    persona,
    picture,
    refused,
    said,
    spoken,
    text,
    unpacked,
)

ICON = bytes(range(256)) * 40
MEMBERS = [("assets/icon/image/main.png", ICON), ("card.json", text(V3)), ("\u00e9.txt", b"theirs")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_card_plays_out_of_its_archive(method: int) -> None:
    """A card in an archive is read like the card alone."""
    found = persona(archive(MEMBERS, method))
    assert replace(found, kind="") == replace(persona(text(V3)), kind="")
    assert found.kind == "charx"


def test_an_archive_that_nobody_changed_is_written_as_it_was() -> None:
    """An unchanged persona is written as the same archive."""
    data = archive(MEMBERS)
    assert registry.write(persona(data), "charx", data) == data


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_change_changes_the_card_alone(method: int) -> None:
    """A change rewrites card.json and keeps the other members."""
    data = archive(MEMBERS, method)
    made = unpacked(registry.write(replace(persona(data), personality="kind"), "charx", data))
    assert json.loads(made.pop("card.json")) == {**V3, "data": {**V3["data"], "personality": "kind"}}
    assert made == {name: content for name, content in MEMBERS if name != "card.json"}


def test_a_streamed_archive_is_changed_as_well() -> None:
    """An archive whose sizes follow its members can be changed."""

    class Pipe:
        """A file without `seek`, like a pipe."""

        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> int:
            self.data += bytes(data)
            return len(data)

        def flush(self) -> None:
            pass

    out = Pipe()
    with zipfile.ZipFile(cast("IO[bytes]", out), "w", zipfile.ZIP_DEFLATED) as streamed:
        for name, content in MEMBERS:
            streamed.writestr(name, content)
    made = unpacked(registry.write(replace(persona(out.data), personality="kind"), "charx", out.data))
    assert made["assets/icon/image/main.png"] == ICON


def test_a_member_that_would_fill_the_memory_is_copied_as_it_is_packed() -> None:
    """A compressed member of 300 MiB is still small after a change of the card."""
    data = archive([("bomb", b"\0" * (300 << 20)), ("card.json", text(V3))])
    assert len(data) < 400_000
    made = registry.write(replace(persona(data), personality="kind"), "charx", data)
    assert len(made) < 400_000


def test_a_new_archive_holds_a_v3_card() -> None:
    """A new archive holds a V3 card and no other member."""
    members = unpacked(registry.write(Persona("Ada", "Be Ada.", CARD), "charx", None))
    assert list(members) == ["card.json"]
    card = json.loads(members["card.json"])
    assert (card["spec"], card["data"]["system_prompt"]) == ("chara_card_v3", "Be Ada.")


def test_a_picture_goes_into_the_archive_and_out_again() -> None:
    """The picture is kept from PNG to CHARX and back."""
    other = chunk(b"prVt", b"theirs")
    data = picture(other, said("ccv3", V3))
    archived = registry.write(persona(data), "charx", data)
    members = unpacked(archived)
    assert members["assets/icon/image/main.png"] == picture(other)
    icon = {"type": "icon", "uri": "embeded://assets/icon/image/main.png", "name": "main", "ext": "png"}
    assert json.loads(members["card.json"])["data"]["assets"] == [icon]
    back = registry.write(persona(archived), "png", archived)
    assert spoken(back)["ccv3"] == V3
    assert [one for one in chunks(back) if one[0] != b"tEXt"] == chunks(picture(other))


@pytest.mark.parametrize(
    "members",
    [
        [],
        [("main.png", b"GIF89a")],
        [("main.png", picture()[:-3])],
        [("main.png", picture() + b"\0" * (9 << 20))],
    ],
)
def test_an_archive_without_a_good_picture_gets_a_plain_one(members: list[tuple[str, bytes]]) -> None:
    """Without a usable picture in the archive, the PNG has a plain one."""
    icon = {"type": "icon", "uri": "embeded://main.png", "name": "main", "ext": "png"}
    card = {**V3, "data": {**V3["data"], "assets": [icon]}}
    data = archive([("card.json", text(card)), *members])
    assert [one for one in chunks(registry.write(persona(data), "png", data)) if one[0] != b"tEXt"] == chunks(
        png.blank()
    )


def _with_flag(data: bytes, flag: int) -> bytes:
    """Return an archive with a flag set on all its members."""
    found = bytearray(data)
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(sign)
        while at >= 0:
            (before,) = struct.unpack_from("<H", data, at + offset)
            struct.pack_into("<H", found, at + offset, before | flag)
            at = data.find(sign, at + 4)
    return bytes(found)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (archive([("other.json", text(V3))]), "an archive without card.json"),
        (archive([("sub/card.json", text(V3))]), "an archive without card.json"),
        (archive([("card.json", b"[1]")]), "its card.json is not a character card"),
        (archive([("card.json", b"{")]), "is not JSON"),
        (
            archive([("card.json", text(V3))], zipfile.ZIP_BZIP2),
            "the compression of its card.json is not supported",
        ),
        (
            archive([("card.json", text(V3))], zipfile.ZIP_LZMA),
            "the compression of its card.json is not supported",
        ),
        (_with_flag(archive([("card.json", text(V3))]), 1), "is encrypted"),
        (archive([("card.json", b" " * (5 << 20))]), "larger than 4 MiB"),
        (archive([("card.json", b"\0" * (300 << 20))]), "larger than 4 MiB"),
        (archive([(f"{n}", b"") for n in range(2_001)]), "more than 2,000 members"),
        (archive(MEMBERS)[:-30], "a damaged archive"),
        (archive(MEMBERS)[:200], "a damaged archive"),
        (archive([("card.json", text(V3))], zipfile.ZIP_STORED).replace(b"Ada", b"Bda"), "a damaged archive"),
        (b"PK\x03\x04", "a damaged archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_archive_is_refused_with_its_reason(data: bytes, told: str) -> None:
    """A damaged or unsupported archive is refused with its reason."""
    assert told in refused(data)


def test_members_that_lie_over_one_another_are_not_multiplied() -> None:
    """A change to an archive with overlapping members is refused."""
    data = archive([("a", b"x" * 100_000), ("b", b"y"), ("card.json", text(V3))], zipfile.ZIP_STORED)
    directory = data.find(b"PK\x01\x02")
    second = data.find(b"PK\x01\x02", directory + 4)
    (sizes,) = struct.unpack_from("<8s", data, directory + 20)
    found = bytearray(data)
    struct.pack_into("<8s", found, second + 20, sizes)  # b has the size and the offset of a
    struct.pack_into("<I", found, second + 42, 0)
    told = persona(bytes(found))
    with pytest.raises(PersonaError, match="overlap"):
        registry.write(replace(told, name="x"), "charx", bytes(found))
