"""Reads the rows of an SQLite file page by page. SQLite itself stops at the first damaged page.

The format is described at sqlite.org/fileformat2.html. The pages that assign pages to tables may be damaged,
so they are not used: the caller distinguishes the tables by their columns.
"""

import mmap
import struct
from collections.abc import Iterator
from typing import Final

Data = bytes | mmap.mmap
Value = int | float | str | bytes | None
_TABLE_LEAF_PAGE: Final = 0x0D
_MIN_PAGE_SIZE, _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE = 512, 4096, 65_536
_INTEGER_LENGTHS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""The size of an integer in bytes, by its serial type."""
_FLOAT, _ZERO, _ONE, _BLOB = 7, 8, 9, 12


def rows(data: Data) -> Iterator[tuple[int, list[Value]]]:
    """Yield the rowid and the columns of every row that can be read completely.

    An INTEGER PRIMARY KEY column is None, because it is stored only as the rowid. Damaged rows are skipped,
    but other bytes that happen to have the format of a row are yielded, too.
    """
    size = _page_size(data)
    for start in range(0, len(data) - size + 1, size):
        header = start + (100 if start == 0 else 0)
        if data[header] != _TABLE_LEAF_PAGE:
            continue
        (count,) = struct.unpack_from(">H", data, header + 3)
        for index in range(min(count, size // 4)):
            try:
                (offset,) = struct.unpack_from(">H", data, header + 8 + 2 * index)
                yield _row(data, start + offset, size)
            except (IndexError, ValueError, struct.error):
                continue


def _page_size(data: Data) -> int:
    stored = int.from_bytes(data[16:18], "big")
    size = _MAX_PAGE_SIZE if stored == 1 else stored
    is_valid = data[:16] == b"SQLite format 3\0" and size >= _MIN_PAGE_SIZE and size.bit_count() == 1
    return size if is_valid else _DEFAULT_PAGE_SIZE


def _row(data: Data, offset: int, size: int) -> tuple[int, list[Value]]:
    length, offset = _varint(data, offset)
    rowid, offset = _varint(data, offset)
    if not 0 < length <= len(data):
        raise ValueError("the length of the row is invalid")
    return rowid, _columns(_payload(data, offset, length, size))


def _payload(data: Data, offset: int, length: int, size: int) -> bytes:
    """Return the bytes of a row, including those on overflow pages."""
    if length <= size - 35:
        return data[offset : offset + length]
    min_local = (size - 12) * 32 // 255 - 23
    local = min_local + (length - min_local) % (size - 4)
    local = local if local <= size - 35 else min_local
    payload = bytearray(data[offset : offset + local])
    (page,) = struct.unpack_from(">I", data, offset + local)
    while len(payload) < length:
        start = (page - 1) * size
        if not 0 < start <= len(data) - size:
            raise ValueError("an overflow page is missing")
        (page,) = struct.unpack_from(">I", data, start)
        payload += data[start + 4 : start + size][: length - len(payload)]
    return bytes(payload)


def _columns(payload: bytes) -> list[Value]:
    end, offset = _varint(payload, 0)
    serial_types = []
    while offset < end:
        serial_type, offset = _varint(payload, offset)
        serial_types.append(serial_type)
    values: list[Value] = []
    for serial_type in serial_types:
        value, offset = _value(payload, offset, serial_type)
        values.append(value)
    if offset != len(payload):
        raise ValueError("the columns do not fill the row")
    return values


def _value(payload: bytes, offset: int, serial_type: int) -> tuple[Value, int]:
    if serial_type in (0, _ZERO, _ONE):
        return (None if serial_type == 0 else serial_type - _ZERO), offset
    length = _INTEGER_LENGTHS.get(serial_type) or (8 if serial_type == _FLOAT else (serial_type - _BLOB) // 2)
    if length < 0 or offset + length > len(payload):
        raise ValueError("a column is longer than its row")
    part, offset = payload[offset : offset + length], offset + length
    if serial_type in _INTEGER_LENGTHS:
        return int.from_bytes(part, "big", signed=True), offset
    if serial_type == _FLOAT:
        return struct.unpack(">d", part)[0], offset
    return (part.decode("utf-8", "replace") if serial_type % 2 else part), offset


def _varint(data: Data, offset: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[offset + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the high bit is clear in the last byte
            return value, offset + index + 1
    return value << 8 | data[offset + 8], offset + 9
