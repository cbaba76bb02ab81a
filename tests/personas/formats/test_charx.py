"""CHARX archives: reading the card, refusing bad archives, and keeping the other members."""

import json
import struct
import zipfile
from pathlib import Path
from typing import IO, BinaryIO, cast

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.personas import loader
from hermes_cli.personas.formats import charx, png, registry
from hermes_cli.personas.persona import Persona
from tests.personas.formats.cards import (
    CARD,
    V3,
    archive,
    card_chunk,
    cards_in_png,
    chunk,
    chunks,
    error_text,
    picture,
    read_persona,
    to_json,
    unzip,
)

ICON = bytes(range(256)) * 40
MEMBERS = [("assets/icon/image/main.png", ICON), ("card.json", to_json(V3)), ("\u00e9.txt", b"theirs")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_card_in_an_archive_is_read_like_the_card_alone(method: int) -> None:
    """A card in an archive is read like the card alone."""
    persona = read_persona(archive(MEMBERS, method))
    assert persona._replace(kind="") == read_persona(to_json(V3))._replace(kind="")
    assert persona.kind == "charx"


def test_an_unchanged_persona_is_written_as_the_same_archive() -> None:
    """An unchanged persona is written as the same archive."""
    data = archive(MEMBERS)
    assert registry.write(read_persona(data), "charx", data) == data


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_change_rewrites_only_card_json(method: int) -> None:
    """A change rewrites card.json and keeps the other members."""
    data = archive(MEMBERS, method)
    members = unzip(registry.write(read_persona(data)._replace(personality="kind"), "charx", data))
    assert json.loads(members.pop("card.json")) == {**V3, "data": {**V3["data"], "personality": "kind"}}
    assert members == {name: content for name, content in MEMBERS if name != "card.json"}


def test_an_archive_whose_sizes_follow_its_members_can_be_changed() -> None:
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
    members = unzip(registry.write(read_persona(out.data)._replace(personality="kind"), "charx", out.data))
    assert members["assets/icon/image/main.png"] == ICON


def test_a_large_compressed_member_is_copied_without_decompression() -> None:
    """A compressed member of 300 MiB is still small after a change of the card."""
    data = archive([("bomb", b"\0" * (300 << 20)), ("card.json", to_json(V3))])
    assert len(data) < 400_000
    changed = registry.write(read_persona(data)._replace(personality="kind"), "charx", data)
    assert len(changed) < 400_000


def test_a_new_archive_contains_only_a_v3_card() -> None:
    """A new archive holds a V3 card and no other member."""
    members = unzip(registry.write(Persona("Ada", "Be Ada.", CARD), "charx", None))
    assert list(members) == ["card.json"]
    card = json.loads(members["card.json"])
    assert (card["spec"], card["data"]["system_prompt"]) == ("chara_card_v3", "Be Ada.")


def test_the_picture_is_kept_from_png_to_charx_and_back() -> None:
    """The picture is kept from PNG to CHARX and back."""
    other_chunk = chunk(b"prVt", b"theirs")
    data = picture(other_chunk, card_chunk("ccv3", V3))
    archived = registry.write(read_persona(data), "charx", data)
    members = unzip(archived)
    assert members["assets/icon/image/main.png"] == picture(other_chunk)
    icon = {"type": "icon", "uri": "embeded://assets/icon/image/main.png", "name": "main", "ext": "png"}
    assert json.loads(members["card.json"])["data"]["assets"] == [icon]
    back = registry.write(read_persona(archived), "png", archived)
    assert cards_in_png(back)["ccv3"] == V3
    assert [item for item in chunks(back) if item[0] != b"tEXt"] == chunks(picture(other_chunk))


@pytest.mark.parametrize(
    "members",
    [
        [],
        [("main.png", b"GIF89a")],
        [("main.png", picture()[:-3])],
        [("main.png", picture() + b"\0" * (9 << 20))],
    ],
)
def test_an_archive_without_a_usable_picture_gives_a_plain_one(members: list[tuple[str, bytes]]) -> None:
    """Without a usable picture in the archive, the PNG has a plain one."""
    icon = {"type": "icon", "uri": "embeded://main.png", "name": "main", "ext": "png"}
    card = {**V3, "data": {**V3["data"], "assets": [icon]}}
    data = archive([("card.json", to_json(card)), *members])
    assert [
        item for item in chunks(registry.write(read_persona(data), "png", data)) if item[0] != b"tEXt"
    ] == chunks(png.blank())


def _with_flag(data: bytes, flag: int) -> bytes:
    """Return an archive with a flag set on all its members."""
    flagged = bytearray(data)
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(sign)
        while at >= 0:
            (before,) = struct.unpack_from("<H", data, at + offset)
            struct.pack_into("<H", flagged, at + offset, before | flag)
            at = data.find(sign, at + 4)
    return bytes(flagged)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (archive([("other.json", to_json(V3))]), "an archive without card.json"),
        (archive([("sub/card.json", to_json(V3))]), "an archive without card.json"),
        (archive([("card.json", b"[1]")]), "its card.json is not a character card"),
        (archive([("card.json", b"{")]), "is not JSON"),
        (
            archive([("card.json", to_json(V3))], zipfile.ZIP_BZIP2),
            "the compression of its card.json is not supported",
        ),
        (
            archive([("card.json", to_json(V3))], zipfile.ZIP_LZMA),
            "the compression of its card.json is not supported",
        ),
        (_with_flag(archive([("card.json", to_json(V3))]), 1), "is encrypted"),
        (archive([("card.json", b" " * (5 << 20))]), "larger than 4 MiB"),
        (archive([("card.json", b"\0" * (300 << 20))]), "larger than 4 MiB"),
        (archive([(f"{n}", b"") for n in range(2_001)]), "more than 2,000 members"),
        (archive(MEMBERS)[:-30], "a damaged archive"),
        (archive(MEMBERS)[:200], "a damaged archive"),
        (
            archive([("card.json", to_json(V3))], zipfile.ZIP_STORED).replace(b"Ada", b"Bda"),
            "a damaged archive",
        ),
        (b"PK\x03\x04", "a damaged archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_archive_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """A damaged or unsupported archive is refused with its reason."""
    assert reason in error_text(data)


def test_changing_an_archive_with_overlapping_members_is_refused() -> None:
    """A change to an archive with overlapping members is refused."""
    data = archive([("a", b"x" * 100_000), ("b", b"y"), ("card.json", to_json(V3))], zipfile.ZIP_STORED)
    directory = data.find(b"PK\x01\x02")
    second = data.find(b"PK\x01\x02", directory + 4)
    (sizes,) = struct.unpack_from("<8s", data, directory + 20)
    overlapping = bytearray(data)
    struct.pack_into("<8s", overlapping, second + 20, sizes)  # b has the size and the offset of a
    struct.pack_into("<I", overlapping, second + 42, 0)
    persona = read_persona(bytes(overlapping))
    with pytest.raises(PersonaError, match="overlap"):
        registry.write(persona._replace(name="x"), "charx", bytes(overlapping))


def _large(tmp_path: Path, *members: tuple[str, bytes]) -> Path:
    """Write an archive above the limit of 20 MiB, whose assets take most of it."""
    path = tmp_path / "large.charx"
    with zipfile.ZipFile(path, "w") as archive_file:
        for name, content in (("assets/other/x.png", bytes(21 << 20)), *members):
            archive_file.writestr(name, content)
    return path


def test_a_large_archive_is_read_without_its_assets(tmp_path: Path) -> None:
    """Only the card and the character's image are read from an archive above 20 MiB."""
    assets = [{"type": "icon", "uri": "embeded://assets/icon/a.png", "name": "main", "ext": "png"}]
    document = {**V3, "data": {**V3["data"], "assets": assets}}
    path = _large(tmp_path, ("card.json", to_json(document)), ("assets/icon/a.png", picture()))
    with path.open("rb") as file:
        counted = _CountedFile(file)
        data = charx.without_assets(cast("BinaryIO", counted), path)
    assert unzip(data) == {"card.json": to_json(document), "assets/icon/a.png": picture()}
    assert counted.count < 300_000
    persona = loader.load_file(path)
    assert (persona.name, persona.kind) == ("Ada", "charx")


class _CountedFile:
    """A file that counts the bytes that are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.count = 0
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((), "an archive without card.json"),
        ((("card.json", b"[]"),), "card.json is not a character card"),
        ((("card.json", b" " * (9 << 20)),), "larger than 4 MiB"),
        (tuple((f"assets/{n}", b"") for n in range(25_000)), "is a damaged archive"),
    ],
    ids=["no card", "not a card", "large card", "members"],
)
def test_a_large_archive_without_a_usable_card_is_refused(
    tmp_path: Path, members: tuple[tuple[str, bytes], ...], reason: str
) -> None:
    """The same limits hold for a card in a large archive, and its directory is limited."""
    with pytest.raises(PersonaError, match=reason):
        loader.load_file(_large(tmp_path, *members))


def test_a_large_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    """A file that only begins like an archive is damaged."""
    path = tmp_path / "large.charx"
    path.write_bytes(b"PK\x03\x04" + bytes(21 << 20))
    with pytest.raises(PersonaError, match="is a damaged archive"):
        loader.load_file(path)
