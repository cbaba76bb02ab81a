"""Reading the header of a safetensors file, valid or hostile."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.checkpoint.safetensors import MAX_HEADER, Tensor, read_header
from tests.models.small_checkpoint import in_bfloat16, safetensors_bytes, with_header

GOOD = safetensors_bytes({"a": ("float16", (3, 5)), "b": ("float32", (7,)), "c": ("uint8", ())})


def file(folder: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return path


def test_a_file_of_the_formats_own_writer_is_read(tmp_path: Path) -> None:
    """The tensors have the names, types, shapes and sizes that the format's own writer wrote."""
    tensors = {tensor.name: tensor for tensor in read_header(file(tmp_path, GOOD))}
    assert tensors == {
        "a": Tensor("a", "F16", (3, 5), 30),
        "b": Tensor("b", "F32", (7,), 28),
        "c": Tensor("c", "U8", (), 1),
    }
    assert [tensors[name].elements for name in "abc"] == [15, 7, 1]
    assert read_header(file(tmp_path, in_bfloat16(GOOD)))[0].dtype in ("BF16", "F32", "U8")


@pytest.mark.parametrize("cut", [1, 30, len(GOOD) - 9, len(GOOD) - 7, len(GOOD)])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    """A truncated file is refused."""
    with pytest.raises(ModelUnavailable, match="truncated"):
        read_header(file(tmp_path, GOOD[: len(GOOD) - cut]))


def test_a_file_with_bytes_after_its_data_is_refused(tmp_path: Path) -> None:
    """A file with bytes after its data is refused."""
    with pytest.raises(ModelUnavailable, match="3 bytes more"):
        read_header(file(tmp_path, GOOD + b"abc"))


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": 1},
        {"a": {}},
        {"a": {"dtype": "F16", "shape": [2], "data_offsets": [0]}},
        {"a": {"dtype": "F16", "shape": [2], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F16", "shape": [3], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F16", "shape": [-2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F16", "shape": [2.0], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F16", "shape": [True, 2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F16", "shape": [10**400], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F16", "shape": [1] * 9, "data_offsets": [0, 2]}},
        {"a": {"dtype": None, "shape": [2], "data_offsets": [2, 4]}},  # a gap before it
        {
            "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
            "b": {"dtype": "U8", "shape": [3], "data_offsets": [1, 4]},
        },
    ],
)
def test_an_invalid_header_is_refused(tmp_path: Path, header: Any) -> None:
    """A header that contradicts itself or the file is refused."""
    content = with_header(b"\2\0\0\0\0\0\0\0{}abcd", json.dumps(header).encode())
    with pytest.raises(ModelUnavailable):
        read_header(file(tmp_path, content))


def test_a_header_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """A header that is longer than the limit is refused."""
    path = file(tmp_path, (MAX_HEADER + 1).to_bytes(8, "little"))
    os.truncate(path, 2 * MAX_HEADER)
    with pytest.raises(ModelUnavailable, match="not a safetensors file"):
        read_header(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a":' * 50_000, "is nested too deeply"),
        (b"9" * 5000, "contains a number of 5,000 digits"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_json_that_is_too_deep_or_not_utf_8_is_refused(tmp_path: Path, text: bytes, reason: str) -> None:
    """JSON that is too deep, has endless digits or is not UTF-8 is refused."""
    with pytest.raises(ModelUnavailable, match=f"its model.safetensors {reason}"):
        read_header(file(tmp_path, with_header(GOOD, text)))


def test_a_pipe_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    """A pipe and a missing file are refused."""
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ModelUnavailable, match="ordinary file"):
        read_header(tmp_path / "model.safetensors")
    with pytest.raises(ModelUnavailable, match="No such file"):
        read_header(tmp_path / "none.safetensors")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_header_is_read_consistently_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A damaged header gives tensors that fit the file, or a ModelUnavailable error."""
    content = bytearray(GOOD)
    header = 8 + int.from_bytes(GOOD[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    path = file(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        tensors = read_header(path)
    except ModelUnavailable:
        return
    assert sum(tensor.size for tensor in tensors) < len(content)
