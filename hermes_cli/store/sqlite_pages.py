"""Reads the rows of a database file page by page, without SQLite, which stops at the first damaged page.

The file format is that of sqlite.org/fileformat2.html. The assignment of pages to tables may be damaged, so
it is not read: the caller tells the tables apart by their columns.
"""

import struct
from collections.abc import Iterator
from typing import Final

Value = int | float | str | bytes | None
_LEAF_OF_A_TABLE: Final = 0x0D
_SMALLEST_PAGE, _USUAL_PAGE, _LARGEST_PAGE = 512, 4096, 65_536
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Number of bytes of an integer, by its serial type."""
_FLOAT, _ZERO, _ONE, _BLOB = 7, 8, 9, 12


def rows(data: bytes) -> Iterator[tuple[int, list[Value]]]:
    """Yield the id and the columns of every row that can be read completely.

    A column that is an alias of the id is None. Damaged rows are skipped. Bytes that only look like a row
    are yielded too.
    """
    size = _page_size(data)
    for start in range(0, len(data) - size + 1, size):
        header = start + (100 if start == 0 else 0)
        if data[header] != _LEAF_OF_A_TABLE:
            continue
        (count,) = struct.unpack_from(">H", data, header + 3)
        for number in range(min(count, size // 4)):
            try:
                (offset,) = struct.unpack_from(">H", data, header + 8 + 2 * number)
                yield _row(data, start + offset, size)
            except (IndexError, ValueError, struct.error):
                continue


def _page_size(data: bytes) -> int:
    said = int.from_bytes(data[16:18], "big")
    size = _LARGEST_PAGE if said == 1 else said
    is_one = data.startswith(b"SQLite format 3\0") and size >= _SMALLEST_PAGE and size.bit_count() == 1
    return size if is_one else _USUAL_PAGE


def _row(data: bytes, at: int, size: int) -> tuple[int, list[Value]]:
    length, at = _varint(data, at)
    number, at = _varint(data, at)
    if not 0 < length <= len(data):
        raise ValueError("no row has that length")
    return number, _columns(_payload(data, at, length, size))


def _payload(data: bytes, at: int, length: int, size: int) -> bytes:
    """Return the bytes of a row, including those on overflow pages."""
    if length <= size - 35:
        return data[at : at + length]
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    local = local if local <= size - 35 else least
    found = bytearray(data[at : at + local])
    (page,) = struct.unpack_from(">I", data, at + local)
    while len(found) < length:
        start = (page - 1) * size
        if not 0 < start <= len(data) - size:
            raise ValueError("an overflow page is missing")
        (page,) = struct.unpack_from(">I", data, start)
        found += data[start + 4 : start + size][: length - len(found)]
    return bytes(found)


def _columns(payload: bytes) -> list[Value]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise ValueError("a row's columns are not as long as the row")
    return values


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in (0, _ZERO, _ONE):
        return (None if kind == 0 else kind - _ZERO), at
    length = _INTEGERS.get(kind) or (8 if kind == _FLOAT else (kind - _BLOB) // 2)
    if length < 0 or at + length > len(payload):
        raise ValueError("a column is longer than its row")
    part, at = payload[at : at + length], at + length
    if kind in _INTEGERS:
        return int.from_bytes(part, "big", signed=True), at
    if kind == _FLOAT:
        return struct.unpack(">d", part)[0], at
    return (part.decode("utf-8", "replace") if kind % 2 else part), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the high bit is clear in the last byte
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9
