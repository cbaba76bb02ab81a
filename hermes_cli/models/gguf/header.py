"""Parses the header of a GGUF file, versions 2 and 3, little-endian (source: docs/gguf.md in ggml).

Every length is compared with the number of remaining bytes before memory is allocated, so a hostile file
cannot exhaust the memory. Arrays are decoded when they are first read. `model.py` interprets the metadata.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from hermes_cli.models.gguf.types import TENSOR_TYPES

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEY = 65_535
"""The maximum length of a metadata key in bytes, as set by the format."""
MAX_ENTRIES = 1 << 16
"""The maximum number of metadata keys, and of tensors. Most files have hundreds, the largest a few
thousand."""
MAX_ITEMS = 1 << 23
"""The maximum length of an array. The largest vocabularies have under 300,000 tokens and 600,000 merges."""
MAX_HEADER = 1 << 28
"""The maximum size of a header in bytes. Real headers have a few megabytes."""
MAX_DIMENSIONS = 8
TENSOR_ALIGNMENT = 32
"""Source: ggml's `TENSOR_ALIGNMENT`. llama.cpp aborts the process if the tensors begin elsewhere."""
MAX_BYTES = 1 << 50
"""One pebibyte. A tensor that ends beyond it is reported as invalid, not as truncated."""

STRING, ARRAY, BOOL = 8, 9, 7
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF value types and their struct codes. 8 is a string and 9 an array."""


class Malformed(ValueError):  # noqa: N818 - the name describes the data
    """The bytes are not a GGUF header. The message continues a sentence that begins with the path."""


@dataclass(frozen=True)
class RawArray:
    """An undecoded array. `item_type` is a GGUF value type, and `count` is the number of items."""

    item_type: int
    count: int
    raw: bytes = field(repr=False)

    @cached_property
    def strings(self) -> list[str]:
        """The items of a string array, or an empty list for other types. Invalid UTF-8 becomes U+FFFD."""
        if self.item_type != STRING:
            return []
        return [self.raw[a:b].decode("utf-8", "replace") for a, b in _spans(self.raw, self.count)]

    def contains(self, text: str) -> bool:
        """Return whether a string array contains `text`, without decoding the array."""
        data = text.encode()
        return self.item_type == STRING and struct.pack("<Q", len(data)) + data in self.raw

    @cached_property
    def integers(self) -> list[int]:
        """The items of an integer array, or an empty list for other types."""
        if self.item_type not in SCALARS or SCALARS[self.item_type] in "fd?":
            return []
        return list(struct.unpack(f"<{self.count}{SCALARS[self.item_type]}", self.raw))


def _spans(raw: bytes, count: int) -> Iterator[tuple[int, int]]:
    length = struct.Struct("<Q").unpack_from
    position = 0
    for _ in range(count):
        (size,) = length(raw, position)
        yield position + 8, position + 8 + size
        position += 8 + size


Value = int | float | bool | str | RawArray


class TensorInfo(NamedTuple):
    """The description of a tensor. `type_id` is its ggml type.

    The fastest dimension comes first in `shape`. `offset` is in bytes from the start of the data section.
    """

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def type_name(self) -> str:
        """The name of the type in ggml, or `type N` if TENSOR_TYPES does not contain it."""
        known = TENSOR_TYPES.get(self.type_id)
        return known[0] if known else f"type {self.type_id}"

    @property
    def size(self) -> int:
        """The size of the data in bytes, or 0 if the type is unknown."""
        known = TENSOR_TYPES.get(self.type_id)
        return 0 if known is None else self.elements // known[1] * known[2]


class RawHeader(NamedTuple):
    """The metadata and the tensors of a GGUF file, and the offset of the data section in bytes."""

    metadata: dict[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_start: int

    @property
    def expected_size(self) -> int:
        """The minimum size in bytes of a file that contains all of its tensors."""
        return self.data_start + max((t.offset + t.size for t in self.tensors), default=0)


class _Cursor:
    """Reads values from `data` in order, and raises Malformed instead of reading past the end."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.end = min(len(data), MAX_HEADER)
        self.position = 0

    def take(self, code: str) -> int | float | bool:
        size = struct.calcsize(code)
        self.require(size)
        value: int | float | bool
        (value,) = struct.unpack_from(f"<{code}", self.data, self.position)
        self.position += size
        return value

    def integer(self, code: str) -> int:
        return int(self.take(code))

    def raw(self, size: int) -> bytes:
        self.require(size)
        self.position += size
        return self.data[self.position - size : self.position]

    def require(self, size: int) -> None:
        if size > self.end - self.position:
            raise Malformed("ends in the middle of its header")

    def name(self, item: str) -> str:
        size = self.integer("Q")
        if not 0 < size <= MAX_KEY:
            raise Malformed(f"contains {item} of {size:,} bytes")
        try:
            text = self.raw(size).decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"contains {item} that is not UTF-8") from None
        if "\0" in text:
            raise Malformed(f"contains {item} with a NUL")
        return text

    def value(self) -> Value:
        kind = self.integer("I")
        if kind == STRING:
            return self.raw(self.integer("Q")).decode("utf-8", "replace")
        if kind == ARRAY:
            return self.array()
        if kind == BOOL:
            return self.integer("B") != 0
        if kind not in SCALARS:
            raise Malformed(f"contains a value of unknown type {kind}")
        return self.take(SCALARS[kind])

    def array(self) -> RawArray:
        kind, count = self.integer("I"), self.integer("Q")
        if count > MAX_ITEMS:
            raise Malformed(f"contains an array of {count:,} items")
        if kind in SCALARS:
            return RawArray(kind, count, self.raw(count * struct.calcsize(SCALARS[kind])))
        if kind != STRING:
            # The format allows arrays of arrays, but no key of a language model uses them.
            raise Malformed(f"contains an array of type {kind}")
        start = self.position
        self.skip_strings(count)
        return RawArray(kind, count, self.data[start : self.position])

    def skip_strings(self, count: int) -> None:
        self.require(count * 8)
        length = struct.Struct("<Q").unpack_from
        data, position, last = self.data, self.position, self.end - 8
        for _ in range(count):
            if position > last:
                raise Malformed("ends in the middle of its header")
            position += 8 + length(data, position)[0]
        if position > self.end:
            raise Malformed("ends in the middle of its header")
        self.position = position

    def tensor(self) -> TensorInfo:
        name = self.name("a tensor name")
        dimensions = self.integer("I")
        if dimensions > MAX_DIMENSIONS:
            raise Malformed(f"contains a tensor of {dimensions:,} dimensions")
        shape = tuple(self.integer("Q") for _ in range(dimensions))
        tensor = TensorInfo(name, shape, self.integer("I"), self.integer("Q"))
        if 0 in shape:
            raise Malformed("contains a tensor without elements")
        known = TENSOR_TYPES.get(tensor.type_id)
        if known and shape and shape[0] % known[1]:
            raise Malformed(
                f"contains a {known[0]} tensor with rows of {shape[0]:,}, not a multiple of {known[1]}"
            )
        if tensor.offset + tensor.size > MAX_BYTES or tensor.elements > MAX_BYTES:
            raise Malformed("contains a tensor of impossible size")
        return tensor


def walk(data: bytes | mmap.mmap) -> RawHeader:
    """Parse the header of `data`, the contents of a GGUF file.

    Raises Malformed if the header is invalid. The caller checks that no tensor data is missing.
    """
    cursor = _Cursor(data)
    if data[:4] != MAGIC:
        raise Malformed("is not a GGUF file")
    cursor.position = 4
    _check_version(cursor.integer("I"))
    tensor_count, key_count = cursor.integer("Q"), cursor.integer("Q")
    for count, plural in ((tensor_count, "tensors"), (key_count, "metadata keys")):
        if count > MAX_ENTRIES:
            raise Malformed(f"declares {count:,} {plural}, more than {MAX_ENTRIES:,}")
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = cursor.name("a metadata key")
        if key in metadata:
            raise Malformed(f"contains the metadata key '{key[:80]}' twice")
        metadata[key] = cursor.value()
    tensors = tuple(cursor.tensor() for _ in range(tensor_count))
    data_start = _aligned(cursor.position, metadata)
    if tensors and data_start % TENSOR_ALIGNMENT:
        raise Malformed(f"stores its tensors at byte {data_start:,}, not at a multiple of {TENSOR_ALIGNMENT}")
    return RawHeader(metadata, tensors, data_start)


def _check_version(version: int) -> None:
    if version in VERSIONS:
        return
    if version & 0xFFFF == 0 and version:
        raise Malformed("is a big-endian GGUF file, which hermes does not support")
    raise Malformed(f"has GGUF version {version}; hermes reads versions 2 and 3")


def _aligned(position: int, metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if isinstance(alignment, bool) or not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise Malformed(f"has an alignment of {alignment!r}")
    return -(-position // alignment) * alignment
