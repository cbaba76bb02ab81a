"""Reads and writes CHARX files, which are zip archives with a V3 card in `card.json`, images and sounds.

Source: the Character Card V3 specification, "CharX" and "assets". The image of a character is the main asset
of type `icon`; in a PNG card, it is the PNG itself. Members are unpacked only in memory, with size limits.
When a card is replaced, the other members are copied without being unpacked.
"""

import copy
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import card, png

SIGNATURES: Final = (b"PK\x03\x04", b"PK\x05\x06")
CARD: Final = "card.json"
IMAGE: Final = "assets/icon/image/main.png"
_EMBEDDED_URI: Final = "embeded://"  # the specification's spelling
_SAME_FILE_URI: Final = "ccdefault:"
_URI_PREFIXES: Final = (_EMBEDDED_URI, "embedded://")
MAX_MEMBERS: Final = 2_000
MAX_MEMBER: Final = 8 << 20
"""The limit in bytes. A larger image is not copied to another format."""
MAX_DIRECTORY: Final = 1 << 20
"""The limit in bytes of the list of members at the end of a large archive."""
_ENTRY: Final = b"PK\x01\x02"
"""The signature of a member's entry in the central directory."""
_LOCAL_SIZE: Final = 30
_NAME_AND_EXTRA: Final = struct.Struct("<HH")
_NAMES_AT: Final = 26
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8
_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # with NotImplementedError
    ValueError,
    OverflowError,
    IndexError,
)
"""The exceptions that zipfile may raise for an invalid archive."""
_HINT: Final = "get the original file"


def read(data: bytes, source: Path) -> dict[str, Any]:
    """Return the card in an archive. Raises PersonaError if it is missing or invalid."""
    with _opened(data, source) as archive:
        return card.parse(_card_text(archive, source), source, CARD, _HINT)


def _card_text(archive: zipfile.ZipFile, source: Path) -> bytes:
    """Return the text of the card. Raises PersonaError if it is missing or cannot be unpacked."""
    try:
        info = archive.getinfo(CARD)
    except KeyError:
        raise PersonaError(f"{source} is an archive without {CARD}", "a CHARX file has one") from None
    if info.flag_bits & _ENCRYPTED:
        raise PersonaError(f"{source}: its {CARD} is encrypted", "decrypt it with another program")
    if info.compress_type not in _METHODS:
        raise PersonaError(f"{source}: the compression of its {CARD} is not supported", _HINT)
    try:
        return _content(archive, info, card.LIMITS.size + 1)
    except _ZIP_ERRORS:
        raise _damaged(source) from None


def without_assets(file: BinaryIO, source: Path) -> bytes:
    """Return a copy of a large archive that has only its card and the character's image, if it is not large.

    Only the directory and these members are read. Raises PersonaError if the card is missing or invalid.
    """
    limited = _LimitedFile(file, MAX_DIRECTORY)
    try:
        with zipfile.ZipFile(cast("BinaryIO", limited)) as archive:
            limited.rest = 2 * MAX_MEMBER
            text = _card_text(archive, source)
            path = _image_path(card.parse(text, source, CARD, _HINT))
            image = _member(archive, path)
            return build(text, {path: image} if image and path != CARD else {})
    except _ZIP_ERRORS:
        raise _damaged(source) from None


class _LimitedFile:
    """A file of which only `rest` more bytes can be read."""

    def __init__(self, file: BinaryIO, rest: int) -> None:
        self.rest = rest
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes. Raises BadZipFile if more than `rest` bytes would be read."""
        data = self._file.read(self.rest + 1 if size < 0 else min(size, self.rest + 1))
        self.rest -= len(data)
        if self.rest < 0:
            raise zipfile.BadZipFile
        return data


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of a member, or empty bytes if it is missing, invalid or too large."""
    try:
        info = archive.getinfo(name)
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            return b""
        content = _content(archive, info, MAX_MEMBER + 1)
    except (KeyError, *_ZIP_ERRORS):
        return b""
    return content if len(content) <= MAX_MEMBER else b""


def build(text: bytes, members: Mapping[str, bytes]) -> bytes:
    """Return a new archive with a card and other members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(CARD), text, zipfile.ZIP_DEFLATED)
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def replace_card(data: bytes, text: bytes, source: Path) -> bytes:
    """Return an archive with its card replaced. Raises PersonaError if the archive is invalid."""
    with _opened(data, source) as archive:
        others = [member for member in archive.infolist() if member.filename != CARD]
    if sum(member.compress_size for member in others) > len(data):
        raise PersonaError(f"{source}: its members overlap", _HINT)
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(CARD), text, zipfile.ZIP_DEFLATED)
            for info in others:
                _append(archive, out, info, _compressed_bytes(info, data))
    except _ZIP_ERRORS:
        raise _damaged(source) from None
    return out.getvalue()


def image_of(kind: str, data: bytes, document: dict[str, Any] | None) -> bytes:
    """Return the image in a PNG card or a CHARX archive, without cards, or empty bytes if there is none."""
    if kind == "charx":
        try:
            with _opened(data, Path()) as archive:
                data = _member(archive, _image_path(document or {}))
        except PersonaError:  # a damaged archive counts as one without an image
            return b""
    if kind not in {"png", "charx"} or not data.startswith(png.SIGNATURE):
        return b""
    try:
        return png.without_cards(data)
    except PersonaError:  # a damaged image counts as none
        return b""


def add_asset(document: dict[str, Any], *, is_inside: bool) -> dict[str, Any]:
    """Return a V3 card whose `assets` list its image: a member of the archive, or the PNG itself."""
    data = document["data"]
    assets = data["assets"] if isinstance(data.get("assets"), list) else []
    uri = _EMBEDDED_URI + IMAGE if is_inside else _SAME_FILE_URI
    icon = {"type": "icon", "uri": uri, "name": "main", "ext": "png"}
    return document | {"data": data | {"assets": [icon, *(asset for asset in assets if not _is_main(asset))]}}


def _image_path(document: dict[str, Any]) -> str:
    """Return the path of a card's image in its archive, or an empty string."""
    data = document.get("data")
    assets = data.get("assets") if isinstance(data, dict) else None
    for asset in assets if isinstance(assets, list) else ():
        uri = asset.get("uri") if _is_main(asset) else None
        for prefix in _URI_PREFIXES:
            if isinstance(uri, str) and uri.startswith(prefix):
                return uri.removeprefix(prefix)
    return ""


def _is_main(asset: Any) -> bool:
    return isinstance(asset, dict) and asset.get("type") == "icon" and asset.get("name") == "main"


def _opened(data: bytes, source: Path) -> zipfile.ZipFile:
    if data.count(_ENTRY) > MAX_MEMBERS:
        raise PersonaError(f"{source} has more than {MAX_MEMBERS:,} members", "remove unused members")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS:
        raise _damaged(source) from None


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> bytes:
    """Return at most `size` bytes of a member."""
    with archive.open(info) as file:
        return file.read(size)


def _compressed_bytes(info: zipfile.ZipInfo, data: bytes) -> bytes:
    """Return the compressed bytes of a member."""
    lengths = _NAME_AND_EXTRA.unpack_from(data, info.header_offset + _NAMES_AT)
    start = info.header_offset + _LOCAL_SIZE + sum(lengths)
    if start + info.compress_size > len(data):
        raise zipfile.BadZipFile
    return data[start : start + info.compress_size]


def _append(archive: zipfile.ZipFile, out: io.BytesIO, info: zipfile.ZipInfo, raw: bytes) -> None:
    """Append a compressed member without unpacking it, for which zipfile has no function."""
    member = copy.copy(info)
    member.flag_bits &= ~_SIZES_FOLLOW
    member.extra = b""
    member.header_offset = out.seek(0, io.SEEK_END)
    out.write(member.FileHeader(zip64=False) + raw)
    archive.filelist.append(member)
    archive.NameToInfo[member.filename] = member
    archive.start_dir = out.tell()


def _damaged(source: Path) -> PersonaError:
    return PersonaError(f"{source} is a damaged archive", _HINT)
