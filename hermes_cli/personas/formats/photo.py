"""Reads character cards in the metadata of WebP and JPEG images. Pixels are never decoded.

Sources: the WebP container specification, JPEG (ITU-T T.81), Exif 2.32, and XMP part 3. A card is the Exif
tag UserComment, or a `ccv3` or `chara` property in XMP. UserComment contains JSON, base64 of JSON, or the
bytes of JSON as decimal numbers with commas, which older versions of SillyTavern wrote.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import card

WEBP, JPEG = "webp", "jpeg"
MAX_BLOCKS: Final = 50_000
"""The limit of chunks or segments in a file, and of entries in its Exif directories."""
_RIFF, _JPEG_START = b"RIFF", b"\xff\xd8\xff"
_CHUNK: Final = struct.Struct("<4sI")
_MARKER, _APP1, _SCAN, _END = 0xFF, 0xE1, 0xDA, 0xD9
_WITHOUT_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP: Final = b"http://ns.adobe.com/xmp/extension/\0"
_MORE_XMP_HEAD: Final = struct.Struct(">32sII")
"""The header of a part of a long XMP text: an id, the length of the text, and the place of the part."""
_USER_COMMENT, _EXIF_DIRECTORY = 0x9286, 0x8769
_TYPES_OF_TEXT: Final = (1, 2, 7)
"""The Exif types that have one byte for each value: BYTE, ASCII and UNDEFINED."""
_CHARSET_LENGTH: Final = 8
_CHARSETS: Final = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", bytes(_CHARSET_LENGTH))
_DIGITS: Final = b"0123456789, []"
_MAX_NUMBERS: Final = 1 << 20
"""The limit, in bytes, of a card in decimal numbers, which take ten times the memory of their text."""
_BRACE, _BRACE_IN_BASE64 = b"{", b"e"
_PROPERTY: Final = re.compile(rb"\b(ccv3|chara)(?:\s*=\s*[\"']([\w+/=\s-]*)[\"']|>([\w+/=\s-]*)</)")
_HINT: Final = "some sites and programs remove cards from images: get the original file"


def kind_of(data: bytes) -> str:
    """Return WEBP or JPEG, or an empty string for another file."""
    if data.startswith(_RIFF) and data[8:12] == b"WEBP":
        return WEBP
    return JPEG if data.startswith(_JPEG_START) else ""


def read(data: bytes, source: Path) -> dict[str, Any]:
    """Return the card in an image. V3 takes precedence. Raises PersonaError if there is none."""
    blocks = _webp_blocks(data, source) if kind_of(data) == WEBP else _jpeg_blocks(data, source)
    exif, xmp = list[bytes](), dict[int, bytes]()
    size = 0
    for kind, place, content in blocks:
        size += len(content)
        if size > card.MAX_ENCODED:
            raise _too_large(source)
        if kind == _EXIF:
            exif.append(content)
        else:
            xmp[place] = content
    texts = _properties(b"".join(xmp[place] for place in sorted(xmp)))
    comments = (("UserComment", _comment(tiff.removeprefix(_EXIF), source)) for tiff in exif)
    for name, text in (*texts.items(), *comments):
        if text.startswith((_BRACE, _BRACE_IN_BASE64)):  # cameras write other comments
            return card.parse_encoded(text, source, f"'{name}' metadata", _HINT)
    raise PersonaError(f"{source} is an image without a character card", _HINT)


_Block = tuple[bytes, int, bytes]
"""The kind of a block, which is _EXIF or _XMP; the place of a part in the whole XMP; and the content."""


def _webp_blocks(data: bytes, source: Path) -> Iterator[_Block]:
    place = 12
    for _ in range(MAX_BLOCKS):
        if place + _CHUNK.size > len(data):
            return
        kind, length = _CHUNK.unpack_from(data, place)
        place += _CHUNK.size
        if kind in {b"EXIF", b"XMP "}:
            yield (_EXIF if kind == b"EXIF" else _XMP), 0, _content(data, place, length, source)
        place += length + length % 2
    raise PersonaError(f"{source} has more than {MAX_BLOCKS:,} chunks", _HINT)


def _jpeg_blocks(data: bytes, source: Path) -> Iterator[_Block]:
    place = 2
    for _ in range(MAX_BLOCKS):
        if place + 4 > len(data) or data[place] != _MARKER:
            return
        marker = data[place + 1]
        if marker in {_SCAN, _END}:
            return  # metadata precedes the pixels
        if marker == _MARKER or marker in _WITHOUT_LENGTH:
            place += 1 if marker == _MARKER else 2  # the first is a fill byte
            continue
        length = int.from_bytes(data[place + 2 : place + 4])
        content = _content(data, place + 4, max(length - 2, 0), source) if marker == _APP1 else b""
        if content.startswith(_EXIF):
            yield _EXIF, 0, content
        elif content.startswith(_XMP):
            yield _XMP, -1, content.removeprefix(_XMP)
        elif content.startswith(_MORE_XMP) and len(content) >= len(_MORE_XMP) + _MORE_XMP_HEAD.size:
            _id, _length, offset = _MORE_XMP_HEAD.unpack_from(content, len(_MORE_XMP))
            yield _XMP, offset, content[len(_MORE_XMP) + _MORE_XMP_HEAD.size :]
        place += 2 + max(length, 2)
    raise PersonaError(f"{source} has more than {MAX_BLOCKS:,} segments", _HINT)


def _content(data: bytes, place: int, length: int, source: Path) -> bytes:
    """Return the content of a block. Raises PersonaError if it is cut short or too large."""
    if place + length > len(data):
        raise PersonaError(f"{source} is cut short", _HINT)
    if length > card.MAX_ENCODED:
        raise _too_large(source)
    return data[place : place + length]


def _too_large(source: Path) -> PersonaError:
    return PersonaError(
        f"{source}: its card is larger than {card.LIMITS.size >> 20} MiB", "shorten its texts"
    )


def _properties(xmp: bytes) -> dict[str, bytes]:
    """Return the cards in XMP by the names of their properties, in order of precedence."""
    found = dict[bytes, bytes]()
    for match in _PROPERTY.finditer(xmp):
        found.setdefault(match[1], (match[2] or match[3] or b"").strip())
    return {name.decode(): found[name] for name in sorted(found)}


def _comment(tiff: bytes, source: Path) -> bytes:
    """Return the UserComment in Exif data as UTF-8, or empty bytes if there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:  # noqa: PLR2004 - the size of the header
        return b""
    try:
        comment = _user_comment(tiff, order)
    except struct.error:  # a place outside the data
        raise PersonaError(f"{source}: its Exif data is damaged", _HINT) from None
    charset, text = comment[:_CHARSET_LENGTH], comment
    if charset in _CHARSETS:
        text = comment[_CHARSET_LENGTH:]
    if charset == b"UNICODE\0" and b"\0" in text[:2]:  # some programs write UTF-8 under this name
        text = text.decode("utf-16-le" if order == "<" else "utf-16-be", "replace").encode()
    text = text.strip(b"\0 \r\n")
    if len(text) <= _MAX_NUMBERS and not text.translate(None, _DIGITS):
        text = bytes(min(int(number[:3]), 255) for number in re.findall(rb"\d+", text))
    return text


def _user_comment(tiff: bytes, order: str) -> bytes:
    """Return the value of UserComment, which is in the main or the Exif directory. Raises struct.error."""
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    directories, read = [start], 0
    while directories and read < 2:  # noqa: PLR2004 - the main and the Exif directory
        start, read = directories.pop(), read + 1
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(min(count, MAX_BLOCKS)):
            place = start + 2 + 12 * number
            tag, kind, length, value = struct.unpack_from(f"{order}HHII", tiff, place)
            if tag == _EXIF_DIRECTORY:
                directories.append(value)
            elif tag == _USER_COMMENT and kind in _TYPES_OF_TEXT:
                at = value if length > 4 else place + 8  # noqa: PLR2004 - short values are in the entry
                if at + length > len(tiff):
                    raise struct.error
                return tiff[at : at + length]
    return b""
