"""The GPUs that the installed build of llama.cpp supports, as llama.cpp itself reports them.

xllamacpp's ordinary wheels for Linux and Windows run only on the CPU, the one for macOS also on Metal; builds
for CUDA, ROCm and Vulkan are on xllamacpp's own package index. Only a build that links a GPU's driver is
asked for its devices, in a child process, because a driver can hang or crash.
"""

import importlib.util
import json
import platform
import re
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

from hermes_cli.models.gpus import Gpu, Kind

PACKAGE: Final = "xllamacpp"
INDEX: Final = "https://xorbitsai.github.io/xllamacpp/whl"
"""xllamacpp's own package index, with a folder for each kind of build (source: its README)."""
BUILDS: Final[dict[Kind, str]] = {"cuda": "cu128", "rocm": "vulkan", "xpu": "vulkan", "vulkan": "vulkan"}
"""The folder of the build for a kind of GPU. Vulkan needs no libraries but the driver."""
QUERY_TIMEOUT_S: Final = 20.0
"""The first start of a driver compiles or unpacks its kernels, which takes seconds."""
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
"""The libraries that a build for each kind of GPU is linked to."""
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
    """A build of llama.cpp: `backend` is the kind of GPU that it is built for, or empty for a CPU build.

    `gpus` are those that it can use now. `problem` is the reason, as a clause, why they are not known.
    """

    backend: Kind | Literal[""] = ""
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""


def installed_build() -> LlamaBuild:
    """Return the installed build. It takes milliseconds for a CPU build, and can take seconds for others."""
    backend = _backend(_library())
    if not backend:
        return LlamaBuild()
    gpus, problem = query_gpus([sys.executable, "-P", "-c", _QUERY])
    return LlamaBuild(backend, gpus, problem)


def _library() -> Path | None:
    """Return the file of the extension module, without importing it, or None if there is none."""
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
    """Return the kind of GPU whose driver a library is linked to, or empty if it is linked to none."""
    with library.open("rb") as file:
        is_elf = file.read(4) == b"\x7fELF"
        file.seek(0)
        try:
            linked = b" ".join(_elf_dependencies(file)) if is_elf else file.read()
        except (struct.error, ValueError, OverflowError, OSError):  # truncated, or offsets beyond any file
            return ""
    for kind, names in _DRIVERS.items():
        if any(name in linked for name in names):
            return kind
    return ""


def _elf_dependencies(file: IO[bytes]) -> list[bytes]:
    """Return the names of the libraries that a 64-bit little-endian ELF file is linked to."""

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
    """Return the GPUs in the output of `command`, and the reason if it failed, as a clause."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (), f"its GPU driver did not answer within {timeout_s:.0f} seconds"
    except OSError as error:
        return (), f"it cannot be asked for its GPUs: {error.strerror}"
    if done.returncode:
        return (), "it crashed when asked for its GPUs"
    try:
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        return parse_devices(json.loads(lines[-1])), ""
    except (ValueError, IndexError, RecursionError):
        return (), "its GPU driver reports invalid values"


def parse_devices(reported: Any) -> tuple[Gpu, ...]:
    """Return the GPUs in a list of (name, description, type, free bytes, total bytes).

    As in llama.cpp, an integrated GPU counts only if there is no other one. Raises ValueError if the list has
    another form.
    """
    if not isinstance(reported, list):
        raise ValueError("not a list")  # noqa: TRY004 - one error for every invalid report
    found = [_device(row) for row in reported]
    dedicated = [gpu for kind, gpu in found if kind == _GPU and gpu is not None]
    integrated = [gpu for kind, gpu in found if kind == _INTEGRATED_GPU and gpu is not None]
    return tuple(dedicated or integrated[:1])


def _device(row: Any) -> tuple[int, Gpu | None]:
    """Return the type of a device, and its Gpu, or None if it is not a GPU of a known kind."""
    match row:
        case [str(name), str(description), int(kind), int(free), int(total)]:
            pass
        case _:
            raise ValueError("a device has another form")
    known = re.fullmatch(r"([A-Za-z]{1,16})(\d{0,3})", name)
    if kind not in (_GPU, _INTEGRATED_GPU) or known is None or known[1] not in _KINDS:
        return kind, None
    if not 0 <= free <= total < _LARGEST_MEMORY:
        raise ValueError("the memory is not a possible size")
    title = "".join(c for c in description if c.isprintable())[:80].strip() or name
    gpu_kind = _KINDS[known[1]]
    is_shared = kind == _INTEGRATED_GPU or gpu_kind == "mps"
    number = int(known[2] or 0)
    return kind, Gpu(title, total, free, gpu_kind, number, llama_name=name, shares_memory=is_shared)
