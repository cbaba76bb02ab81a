"""Reads the header of a .safetensors file, and checks that the file is complete.

A file consists of eight bytes (the header's length, little-endian), the header as JSON, and the data of the
tensors without gaps (source: the format's README, https://github.com/huggingface/safetensors). The
safetensors package is not used, because it is an optional dependency and maps the whole file.
"""

import math
import stat
from pathlib import Path
from typing import Any, Final, NamedTuple

from hermes_cli.errors import ModelUnavailable, access_hint
from hermes_cli.models.checkpoint.json_file import parse_object
from hermes_cli.models.gguf.model import FETCH_AGAIN

MAX_HEADER: Final = 16 << 20
"""Bytes. The format allows 100 MB, which would take gigabytes as Python objects. The entry of a tensor takes
about 120 bytes, and a shard of the largest models has tens of thousands of tensors."""
MAX_DIMENSIONS: Final = 8
MAX_SIZE: Final = 1 << 48
DTYPE_BITS: Final = {
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
    "F32": 32,
    "I32": 32,
    "U32": 32,
    "F16": 16,
    "BF16": 16,
    "I16": 16,
    "U16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}


class Tensor(NamedTuple):
    """A tensor in the header. `size` is in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[Tensor, ...]:
    """Return the tensors of a file. Raises ModelUnavailable if the file is not valid or not complete."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
            raise ModelUnavailable(f"its {path.name} is not an ordinary file", FETCH_AGAIN)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, status.st_size - 8):  # noqa: PLR2004 - "{}"
                raise _broken(path, "is truncated, or not a safetensors file")
            header = file.read(length)
    except OSError as problem:
        hint = access_hint(problem, FETCH_AGAIN)
        raise ModelUnavailable(f"its {path.name} cannot be read: {problem.strerror}", hint) from None
    tensors, end = _tensors(parse_object(header, path.name), path)
    expected = 8 + length + end
    if status.st_size < expected:
        raise _broken(path, f"is truncated: it has {status.st_size:,} bytes of {expected:,}")
    if status.st_size > expected:
        raise _broken(path, f"has {status.st_size - expected:,} bytes more than its tensors")
    return tensors


def _tensors(header: dict[str, Any], path: Path) -> tuple[tuple[Tensor, ...], int]:
    """Return the tensors, and the size of their data in bytes."""
    header.pop("__metadata__", None)
    spans = []
    for name, entry in header.items():
        tensor, begin = _tensor(name, entry, path)
        spans.append((begin, begin + tensor.size, tensor))
    end = 0
    for begin, stop, _ in sorted(spans, key=lambda span: span[:2]):
        if begin != end:
            raise _broken(path, "has a gap or an overlap between its tensors")
        end = stop
    return tuple(tensor for _, _, tensor in spans), end


def _tensor(name: str, entry: Any, path: Path) -> tuple[Tensor, int]:
    if not isinstance(entry, dict):
        raise _broken(path, "has an invalid tensor in its header")
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:  # noqa: PLR2004 - begin and end
        raise _broken(path, "has an invalid tensor in its header")
    begin, end = offsets
    bits = DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    tensor = Tensor(name, str(dtype), shape, end - begin)
    if end < begin or (bits is not None and tensor.elements * bits != tensor.size * 8):
        raise _broken(path, "has a tensor whose size does not match its shape")
    return tensor, begin


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Return a list of up to MAX_DIMENSIONS integers below MAX_SIZE as a tuple, or None if invalid."""
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return None
    is_valid = all(type(number) is int and 0 <= number < MAX_SIZE for number in value)
    return tuple(value) if is_valid else None


def _broken(path: Path, problem: str) -> ModelUnavailable:
    return ModelUnavailable(f"its {path.name} {problem}", FETCH_AGAIN)
