"""The GPUs that the installed build of llama.cpp reports, and how its kind is read from the file."""

import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.models import llama_build
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.llama_build import LlamaBuild, backend_of, installed_build, parse_devices, query_gpus
from hermes_cli.models.units import GIB

CPU, GPU, INTEGRATED, ACCELERATOR = 0, 1, 2, 3
"""Source: ggml-backend.h, `ggml_backend_dev_type`."""
ROW = ["CUDA0", "NVIDIA GeForce RTX 3060", GPU, 11 * GIB, 12 * GIB]
NAMES = st.sampled_from(
    ["CUDA0", "Vulkan1", "MTL0", "Metal", "ROCm0", "SYCL0", "CPU", "BLAS", "", "CUDA0000"]
)
NUMBERS = st.integers(-2, 4) | st.integers() | st.just(2**50)
ROWS = st.tuples(NAMES | st.text(), st.text(), NUMBERS, NUMBERS, NUMBERS).map(list)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def test_a_gpu_has_the_values_that_llama_cpp_reports() -> None:
    """A GPU has its kind, its number among llama.cpp's devices of the kind, and its memory."""
    assert parse_devices([["CPU", "a processor", CPU, GIB, 2 * GIB], ["Vulkan1", "RX 6600", GPU, 7, 8]]) == (
        Gpu("RX 6600", 8, 7, "vulkan", 1, llama_name="Vulkan1"),
    )
    assert parse_devices([ROW]) == (
        Gpu("NVIDIA GeForce RTX 3060", 12 * GIB, 11 * GIB, "cuda", 0, llama_name="CUDA0"),
    )


@pytest.mark.parametrize(
    ("name", "kind", "index"),
    [("ROCm2", "rocm", 2), ("SYCL0", "xpu", 0), ("MTL0", "mps", 0), ("Metal", "mps", 0)],
)
def test_each_backend_has_its_kind(name: str, kind: str, index: int) -> None:
    """Each backend of llama.cpp has its kind; only Metal's memory is main memory."""
    (found,) = parse_devices([[name, "a GPU", GPU, 1, 2]])
    assert (found.kind, found.index, found.llama_name) == (kind, index, name)
    assert found.shares_memory == (kind == "mps")


def test_an_integrated_gpu_counts_only_if_there_is_no_other() -> None:
    """As in llama.cpp, one integrated GPU is used if there is no dedicated one; it shares the memory."""
    first, second = ["Vulkan0", "UHD", INTEGRATED, 1, 2], ["Vulkan1", "llvmpipe", INTEGRATED, 1, 2]
    (found,) = parse_devices([first, second])
    assert (found.name, found.shares_memory) == ("UHD", True)
    assert [gpu.name for gpu in parse_devices([first, ROW])] == ["NVIDIA GeForce RTX 3060"]


@pytest.mark.parametrize(
    "row", [["CPU", "x", CPU, 9, 1], ["BLAS", "x", ACCELERATOR, 0, 0], ["NewGpu0", "x", GPU, 1, 2]]
)
def test_other_devices_are_skipped(row: list[Any]) -> None:
    """A device that is no GPU, or of an unknown kind, is skipped, whatever its memory is."""
    assert parse_devices([row]) == ()


@pytest.mark.parametrize(
    "reported",
    [
        None,
        {},
        "CUDA0",
        [None],
        ["CUDA0"],
        [ROW[:4]],
        [[*ROW, 1]],
        [[0, *ROW[1:]]],
        [["CUDA0", None, *ROW[2:]]],
        [[*ROW[:2], "1", *ROW[3:]]],
        [[*ROW[:3], 1.5, 2]],
        [[*ROW[:3], 2, 1]],  # more free than there is
        [[*ROW[:3], -1, 1]],
        [[*ROW[:3], 1, 2**50]],
        [[*ROW[:3], None, None]],
    ],
)
def test_an_invalid_report_is_refused(reported: Any) -> None:
    """A report of another form, or with an impossible size, is refused."""
    with pytest.raises(ValueError, match=r"form|list|size"):
        parse_devices(reported)


def test_a_description_is_printable() -> None:
    """Control characters are removed from a description; an empty one is replaced by the device's name."""
    descriptions = ["\x1b[2JRTX\r\n\u202e 3060", "\x00\x07", "x" * 200]
    found = [parse_devices([["CUDA0", text, GPU, 1, 2]])[0].name for text in descriptions]
    assert found == ["[2JRTX 3060", "CUDA0", "x" * 80]


@given(JSON | st.lists(ROWS | JSON))
def test_any_report_gives_gpus_or_a_value_error(reported: Any) -> None:
    """Whatever a driver reports, the result is a tuple of GPUs with possible sizes, or a ValueError."""
    try:
        found = parse_devices(reported)
    except ValueError:
        return
    assert all(0 <= gpu.memory_free <= gpu.memory_total < 2**50 for gpu in found)
    assert all(gpu.name.isprintable() and gpu.llama_name for gpu in found)


def query(code: str, timeout_s: float = 20) -> tuple[tuple[Gpu, ...], str]:
    """Query a Python program in place of llama.cpp."""
    return query_gpus([sys.executable, "-S", "-c", code], timeout_s)


def test_the_last_line_of_the_output_is_the_report() -> None:
    """The drivers' own messages before the report are ignored."""
    found, problem = query(f"print('ggml_cuda_init: found 1 device'); print({json.dumps([ROW])!r})")
    assert ([gpu.llama_name for gpu in found], problem) == (["CUDA0"], "")
    assert query("print([])") == ((), "")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os; os.abort()", "it crashed while listing its GPUs"),
        ("raise SystemExit(1)", "it crashed while listing its GPUs"),
        ("", "its GPU driver reports invalid values"),
        ("print('no JSON')", "its GPU driver reports invalid values"),
        ("print('[' * 100_000)", "its GPU driver reports invalid values"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)))", "its GPU driver reports invalid values"),
        ('print(\'[["CUDA0", "x", 1, 2, 1]]\')', "its GPU driver reports invalid values"),
    ],
)
def test_a_failure_of_the_query_has_a_reason(code: str, problem: str) -> None:
    """A query that crashes, prints nothing or nonsense gives no GPUs and the reason."""
    assert query(code) == ((), problem)


def test_a_query_that_hangs_is_stopped() -> None:
    """A query that hangs is stopped after the time limit."""
    start = time.monotonic()
    assert query("import time; time.sleep(60)", timeout_s=2) == (
        (),
        "its GPU driver did not answer within 2 seconds",
    )
    assert time.monotonic() - start < 20


def test_a_command_that_does_not_exist_has_a_reason(tmp_path: Path) -> None:
    """If the interpreter cannot be started, the reason is the system's."""
    assert query_gpus([str(tmp_path / "none")]) == (
        (),
        "it cannot list its GPUs: No such file or directory",
    )


def elf(*libraries: str) -> bytes:
    """Return an ELF file that is linked to some libraries: header, two segments, names, dynamic section."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in libraries)
    offsets = [strings.index(name.encode()) for name in libraries]
    base, names_at = 0x400000, 64 + 2 * 56
    dynamic = [(5, base + names_at), *((1, offset) for offset in offsets), (0, 0)]
    dynamic_at = names_at + len(strings)
    section = b"".join(struct.pack("<QQ", *entry) for entry in dynamic)
    size = dynamic_at + len(section)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096)
    linking = struct.pack(
        "<IIQQQQQQ", 2, 6, dynamic_at, base + dynamic_at, base + dynamic_at, len(section), len(section), 8
    )
    return header + load + linking + strings + section


VULKAN = elf("libc.so.6", "libvulkan.so.1")


@pytest.mark.parametrize(
    ("libraries", "kind"),
    [
        (("libvulkan.so.1",), "vulkan"),
        (("libc.so.6", "libcuda.so.1", "libcudart.so.12"), "cuda"),
        (("libamdhip64.so.6",), "rocm"),
        (("libsycl.so.8",), "xpu"),
        (("libc.so.6", "libgomp.so.1"), ""),
        ((), ""),
    ],
)
def test_the_kind_of_a_build_is_that_of_its_libraries(
    libraries: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    """The kind of a build is that of the driver that its file is linked to."""
    (tmp_path / "x.so").write_bytes(elf(*libraries))
    assert backend_of(tmp_path / "x.so") == kind


def test_a_name_of_a_library_in_another_place_does_not_count(tmp_path: Path) -> None:
    """A driver's name among the data of an ELF file does not count; in other files it does."""
    (tmp_path / "x.so").write_bytes(elf("libc.so.6") + b"libvulkan.so.1")
    (tmp_path / "x.pyd").write_bytes(b"MZ" + b"\0" * 99 + b"vulkan-1.dll\0")
    assert backend_of(tmp_path / "x.so") == ""
    assert backend_of(tmp_path / "x.pyd") == "vulkan"


def test_the_installed_wheel_is_a_cpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ordinary wheel is linked to no driver, so that no process is started to query its devices."""
    if sys.platform != "linux":
        pytest.skip("the ordinary wheel for macOS supports Metal")
    library = llama_build._library()
    assert library is not None
    assert backend_of(library) == ""
    monkeypatch.setattr(llama_build, "query_gpus", pytest.fail)
    assert installed_build() == LlamaBuild()


@given(st.integers(0, len(VULKAN)).map(lambda end: VULKAN[:end]) | st.binary(max_size=300))
def test_a_damaged_file_has_a_kind_or_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A truncated file, or any bytes, are no error."""
    path = tmp_path_factory.getbasetemp() / "damaged.so"
    path.write_bytes(content)
    assert backend_of(path) in {"", "cuda", "rocm", "vulkan", "xpu"}


@given(st.lists(st.tuples(st.integers(16, len(VULKAN) - 8), st.integers(0, 2**64 - 1)), max_size=4))
def test_an_elf_file_with_wrong_numbers_has_a_kind_or_none(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    """Wrong offsets and sizes in an ELF file are no error."""
    content = bytearray(VULKAN)
    for position, number in changes:
        content[position : position + 8] = struct.pack("<Q", number)
    path = tmp_path_factory.getbasetemp() / "wrong.so"
    path.write_bytes(content)
    assert backend_of(path) in {"", "cuda", "rocm", "vulkan", "xpu"}
