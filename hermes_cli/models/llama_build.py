"""Detects the GPUs that the installed build of llama.cpp supports.

On Linux and Windows, xllamacpp's wheels on PyPI use only the CPU; on macOS, they also use Metal. Builds for
CUDA, ROCm and Vulkan are on xllamacpp's own package index. If a build supports GPUs, a child process lists
them, because a driver can hang or crash.
"""

import importlib.util
import json
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

from hermes_cli import child_process
from hermes_cli.models.gpus import Gpu, Kind

PACKAGE: Final = "xllamacpp"
INDEX: Final = "https://xorbitsai.github.io/xllamacpp/whl"
"""xllamacpp's own package index, which has a folder for each kind of build (source: its README)."""
BUILDS: Final[dict[Kind, str]] = {"cuda": "cu128", "rocm": "vulkan", "xpu": "vulkan", "vulkan": "vulkan"}
"""The folder with the build for each kind of GPU. Vulkan needs no library except the driver."""
QUERY_TIMEOUT_S: Final = 20.0
"""When a driver starts for the first time, it may compile or unpack kernels, which takes seconds."""
_QUERY: Final = (
    "import json, xllamacpp; print(json.dumps([(found['name'], found['description'], int(found['type']), "
    "found['memory_free'], found['memory_total']) for found in xllamacpp.get_device_info()]))"
)
_DRIVERS: Final[dict[Kind, tuple[bytes, ...]]] = {
    "cuda": (b"libcuda.so", b"libcudart", b"libcublas", b"nvcuda.dll", b"cublas64"),
    "rocm": (b"libamdhip64", b"amdhip64"),
    "vulkan": (b"libvulkan.so", b"vulkan-1.dll"),
    "xpu": (b"libsycl", b"sycl8.dll"),
}
"""The libraries that a build for each kind of GPU links to."""
_DYNAMIC, _LOAD, _NEEDED, _STRTAB = 2, 1, 1, 5
"""Types of ELF program headers, and tags of entries in the dynamic section. Source: elf(5)."""
_LONGEST_NAME: Final = 255
_KINDS: Final[dict[str, Kind]] = {
    "CUDA": "cuda",
    "ROCm": "rocm",
    "Vulkan": "vulkan",
    "SYCL": "xpu",
    "MTL": "mps",
    "Metal": "mps",
}
_GPU, _INTEGRATED_GPU = 1, 2
"""Device types. Source: ggml-backend.h, `ggml_backend_dev_type`."""
_LARGEST_MEMORY: Final = 1 << 50


@dataclass(frozen=True, slots=True)
class LlamaBuild:
    """A build of llama.cpp. `backend` is the kind of GPU it is built for, or empty for a CPU build.

    `gpus` are the GPUs that it can use. If they are unknown, `problem` is a clause that states the reason.
    """

    backend: Kind | Literal[""] = ""
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""


def installed_build() -> LlamaBuild:
    """Return the installed build. A CPU build takes milliseconds to inspect; others can take seconds."""
    backend = _backend(_library())
    if not backend:
        return LlamaBuild()
    gpus, problem = query_gpus(child_process.python_command("-c", _QUERY))
    return LlamaBuild(backend, gpus, problem)


def _library() -> Path | None:
    """Return the path of the extension module, without importing it, or None if it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    files = sorted(p for p in folder.glob(f"{PACKAGE}*") if p.suffix in (".so", ".pyd")) if folder else []
    return files[0] if files else None


def _backend(library: Path | None) -> Kind | Literal[""]:
    if library is None:
        return ""
    if platform.system() == "Darwin":
        return "mps" if platform.machine() == "arm64" else ""
    try:
        return backend_of(library)
    except OSError:
        return ""


def backend_of(library: Path) -> Kind | Literal[""]:
    """Return the kind of GPU whose libraries `library` links to, or an empty string if there is none."""
    with library.open("rb") as file:
        is_elf = file.read(4) == b"\x7fELF"
        file.seek(0)
        try:
            linked = b" ".join(_elf_dependencies(file)) if is_elf else file.read()
        except (struct.error, ValueError, OverflowError, OSError):  # the file is truncated or invalid
            return ""
    for kind, names in _DRIVERS.items():
        if any(name in linked for name in names):
            return kind
    return ""


def _elf_dependencies(file: IO[bytes]) -> list[bytes]:
    """Return the names of the libraries that a 64-bit little-endian ELF file links to."""

    def read(form: str, offset: int) -> tuple[int, ...]:
        file.seek(offset)
        return struct.unpack(form, file.read(struct.calcsize(form)))

    (headers,), (size, count) = read("<Q", 32), read("<HH", 54)
    segments = [read("<IIQQQQ", headers + size * number) for number in range(count)]
    offset, length = next(((s[2], s[5]) for s in segments if s[0] == _DYNAMIC), (0, 0))
    entries = [read("<QQ", position) for position in range(offset, offset + length, 16)]
    address = next((value for tag, value in entries if tag == _STRTAB), 0)
    strings = next(
        (address - s[3] + s[2] for s in segments if s[0] == _LOAD and s[3] <= address < s[3] + s[5]), 0
    )
    names = []
    for position in (strings + value for tag, value in entries if tag == _NEEDED):
        file.seek(position)
        names.append(file.read(_LONGEST_NAME).split(b"\0")[0])
    return names


def query_gpus(command: list[str], timeout_s: float = QUERY_TIMEOUT_S) -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs that `command` prints, and a clause that explains the failure if it fails."""
    try:
        result = child_process.capture(command, timeout_s=timeout_s)
    except child_process.OutputTooLong:
        return (), "it prints too much while listing its GPUs"
    except child_process.TimeoutExpired:
        return (), f"its GPU driver did not answer within {timeout_s:.0f} seconds"
    except OSError as error:
        return (), f"it cannot list its GPUs: {error.strerror}"
    if result.returncode:
        return (), "it crashed while listing its GPUs"
    try:
        lines = result.stdout.decode("utf-8", "replace").splitlines()
        return parse_devices(json.loads(lines[-1])), ""
    except (ValueError, IndexError, RecursionError):
        return (), "its GPU driver reports invalid values"


def parse_devices(reported: Any) -> tuple[Gpu, ...]:
    """Return the GPUs in a list of (name, description, type, free bytes, total bytes).

    As in llama.cpp, an integrated GPU is used only if there is no dedicated one. Raises ValueError if the
    list is malformed.
    """
    if not isinstance(reported, list):
        raise ValueError("not a list")  # noqa: TRY004 - one error for every invalid report
    found = [_device(row) for row in reported]
    dedicated = [gpu for kind, gpu in found if kind == _GPU and gpu is not None]
    integrated = [gpu for kind, gpu in found if kind == _INTEGRATED_GPU and gpu is not None]
    return tuple(dedicated or integrated[:1])


def _device(row: Any) -> tuple[int, Gpu | None]:
    """Return the type of a device and its Gpu. The Gpu is None for other devices and unknown kinds."""
    match row:
        case [str(name), str(description), int(kind), int(free), int(total)]:
            pass
        case _:
            raise ValueError("a device is malformed")
    known = re.fullmatch(r"([A-Za-z]{1,16})(\d{0,3})", name)
    if kind not in (_GPU, _INTEGRATED_GPU) or known is None or known[1] not in _KINDS:
        return kind, None
    if not 0 <= free <= total < _LARGEST_MEMORY:
        raise ValueError("the memory has an impossible size")
    title = "".join(c for c in description if c.isprintable())[:80].strip() or name
    gpu_kind = _KINDS[known[1]]
    is_shared = kind == _INTEGRATED_GPU or gpu_kind == "mps"
    number = int(known[2] or 0)
    return kind, Gpu(title, total, free, gpu_kind, number, llama_name=name, shares_memory=is_shared)
