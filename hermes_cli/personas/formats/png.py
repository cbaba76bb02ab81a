"""Reads and writes character cards in the text chunks of PNG images. Pixels are never decoded.

Sources: the PNG specification (third edition), and SillyTavern, which writes `chara` (V2) and `ccv3` (V3)
before IEND. V3 takes precedence.
"""

import binascii
import struct
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import card

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
KEYWORDS: Final = ("ccv3", "chara")
"""The keywords of chunks with cards, in order of precedence."""
_MAX_CHUNKS: Final = 50_000
_HEAD, _CRC = struct.Struct(">I4s"), struct.Struct(">I")
_TEXT, _COMPRESSED, _UNICODE, _END = b"tEXt", b"zTXt", b"iTXt", b"IEND"
_KEYWORD_LENGTH: Final = 79
_SIZE: Final = (400, 600)
"""The size in pixels of the image for a persona without one. Cards usually have this aspect ratio."""
_GREY: Final = b"\x60"
MAX_SIDE: Final = 4096
MAX_PIXELS_SIZE: Final = 4 << 20
"""The limit in bytes of the compressed pixels of a picture for a terminal."""
_HEADER: Final = struct.Struct(">IIBBBBB")
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""The bit depths of each color type: grey, RGB, palette, grey with alpha, RGB with alpha."""
_PALETTE: Final = 3
_TRANSPARENCY: Final = {0: 2, 2: 6, 3: 256}
"""The maximum length of the chunk tRNS for each color type."""
_HINT: Final = "some sites and programs remove or damage cards: get the original file"


class PngChunk(NamedTuple):
    """A chunk of an image: its type, and its start and end in the file with header and checksum."""

    type: bytes
    start: int
    end: int


def read(data: bytes, source: Path) -> dict[str, dict[str, Any]]:
    """Return the cards in an image by keyword, in order of precedence. Raises PersonaError if none exists."""
    first = dict[str, dict[str, Any]]()
    for chunk in _chunks(data, source):
        keyword = _keyword(chunk, data)
        if keyword in KEYWORDS and keyword not in first:
            text = _text(chunk, data, source)
            first[keyword] = card.parse_encoded(text, source, f"'{keyword}' chunk", _HINT)
    if not first:
        raise PersonaError(f"{source} is an image without a character card", _HINT)
    return {keyword: first[keyword] for keyword in KEYWORDS if keyword in first}


def replace_cards(data: bytes, texts: dict[str, bytes], source: Path) -> bytes:
    """Replace the cards in an image. `texts` maps keywords to the new cards.

    A missing keyword is added before IEND. Raises PersonaError if the image is invalid.
    """
    view = memoryview(data)  # a slice of it is not a copy
    unwritten, parts = dict(texts), list[bytes | memoryview]([SIGNATURE])
    end = len(SIGNATURE)
    for chunk in _chunks(data, source):
        keyword = _keyword(chunk, data)
        if keyword in texts:
            if keyword in unwritten:
                parts.append(_card_chunk(keyword, unwritten.pop(keyword)))
        else:
            if chunk.type == _END:
                parts += [_card_chunk(key, text) for key, text in unwritten.items()]
            parts.append(view[chunk.start : chunk.end])
        end = chunk.end
    return b"".join([*parts, view[end:]])


def without_cards(data: bytes) -> bytes:
    """Return an image without its cards. Raises PersonaError if it is invalid."""
    chunks = _chunks(data, Path("image"))
    view = memoryview(data)
    others = [view[chunk.start : chunk.end] for chunk in chunks if _keyword(chunk, data) not in KEYWORDS]
    return b"".join([SIGNATURE, *others])


class Picture(NamedTuple):
    """A PNG file that has no chunks but those with its pixels, and its width and height."""

    png: bytes
    width: int
    height: int


def picture(data: bytes, source: Path) -> Picture | None:
    """Return an image with nothing but its pixels, for a terminal; None if it is the plain grey one.

    All chunks but IHDR, PLTE, tRNS, IDAT and IEND are left out. Raises PersonaError if the image is invalid,
    or larger than MAX_SIDE or MAX_PIXELS_SIZE.
    """
    chunks, view = _chunks(data, source), memoryview(data)

    def contents(kind: bytes) -> list[memoryview]:
        return [view[item.start + _HEAD.size : item.end - _CRC.size] for item in chunks if item.type == kind]

    others = [contents(kind) for kind in (b"IHDR", b"PLTE", b"tRNS")]
    header, palette, transparency = (b"".join(parts[:1]) for parts in others)
    pixels = contents(b"IDAT")
    is_repeated = any(len(parts) > 1 for parts in others)
    if is_repeated or not pixels or not _is_valid(header, palette, transparency):
        raise PersonaError(f"{source}: its picture is damaged", _HINT)
    width, height, *_ = _HEADER.unpack(header)
    length = sum(map(len, pixels))
    if max(width, height) > MAX_SIDE or length > MAX_PIXELS_SIZE:
        size = f"{width:,} x {height:,} pixels in {length / 2**20:,.1f} MiB"
        limit = f"the limit is {MAX_SIDE:,} x {MAX_SIDE:,} in {MAX_PIXELS_SIZE >> 20} MiB"
        raise PersonaError(f"{source}: its picture is too large to be shown: {size}; {limit}")
    kinds = {b"IHDR": header, b"PLTE": palette, b"tRNS": transparency, b"IDAT": b"".join(pixels)}
    written = [_chunk(kind, content) for kind, content in kinds.items() if content]
    result = b"".join([SIGNATURE, *written, _chunk(_END, b"")])
    return None if (width, height) == _SIZE and result == blank() else Picture(result, width, height)


def _is_valid(header: bytes, palette: bytes, transparency: bytes) -> bool:
    """Return whether the header has valid values, and the palette and the transparency fit to them."""
    if len(header) != _HEADER.size:
        return False
    width, height, depth, color, compression, filtering, interlace = _HEADER.unpack(header)
    return bool(
        width
        and height
        and depth in _DEPTHS.get(color, ())
        and compression == filtering == 0
        and interlace in {0, 1}
        and (palette if color == _PALETTE else color in {2, 6} or not palette)
        and len(palette) % 3 == 0
        and len(palette) <= 3 << 8
        and len(transparency) <= _TRANSPARENCY.get(color, 0)
    )


def blank() -> bytes:
    """Return a plain grey image."""
    width, height = _SIZE
    head = _HEADER.pack(width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + _GREY * width) * height, 9)
    return SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(_END, b"")


def _chunks(data: bytes, source: Path) -> list[PngChunk]:
    """Return the chunks of an image up to IEND, with verified checksums. Raises PersonaError."""
    chunks, place = list[PngChunk](), len(SIGNATURE)
    view = memoryview(data)
    while not chunks or chunks[-1].type != _END:
        if len(chunks) >= _MAX_CHUNKS:
            raise PersonaError(f"{source} has more than {_MAX_CHUNKS:,} chunks", _HINT)
        if place + _HEAD.size + _CRC.size > len(data):
            raise PersonaError(f"{source} is cut short", _HINT)
        length, kind = _HEAD.unpack_from(data, place)
        end = place + _HEAD.size + length + _CRC.size
        if end > len(data):
            raise PersonaError(f"{source} is cut short", _HINT)
        (checksum,) = _CRC.unpack_from(data, end - _CRC.size)
        if zlib.crc32(view[place + 4 : end - _CRC.size]) != checksum:
            raise PersonaError(f"{source} is damaged: a checksum at byte {place:,} does not match", _HINT)
        chunks.append(PngChunk(kind, place, end))
        place = end
    return chunks


def _keyword(chunk: PngChunk, data: bytes) -> str:
    """Return the keyword of a text chunk in lower case, or an empty string for other chunks."""
    if chunk.type not in {_TEXT, _COMPRESSED, _UNICODE}:
        return ""
    start = chunk.start + _HEAD.size
    head = data[start : min(start + _KEYWORD_LENGTH + 1, chunk.end - _CRC.size)]
    keyword, mark, _rest = head.partition(b"\0")
    return keyword.decode("latin-1").lower() if mark else ""


def _text(chunk: PngChunk, data: bytes, source: Path) -> bytes:
    """Return the text of a text chunk, which may be of any type. Raises PersonaError."""
    _key, _mark, rest = data[chunk.start + _HEAD.size : chunk.end - _CRC.size].partition(b"\0")
    is_compressed = chunk.type == _COMPRESSED
    if is_compressed:
        rest = rest[1:]  # skip the compression method; there is only one
    elif chunk.type == _UNICODE:
        is_compressed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    return _inflated(rest, source) if is_compressed else rest


def _inflated(packed: bytes, source: Path) -> bytes:
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(packed, card.MAX_ENCODED + 1)
    except zlib.error:
        raise PersonaError(f"{source}: its card is damaged", _HINT) from None
    if not inflate.eof and len(text) <= card.MAX_ENCODED:
        raise PersonaError(f"{source}: its card is damaged", _HINT)
    return text


def _card_chunk(keyword: str, text: bytes) -> bytes:
    return _chunk(_TEXT, keyword.encode("latin-1") + b"\0" + binascii.b2a_base64(text, newline=False))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = _CRC.pack(zlib.crc32(content, zlib.crc32(kind)))
    return _HEAD.pack(len(content), kind) + content + checksum
