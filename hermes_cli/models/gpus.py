"""Detects the GPUs of this machine from the output of `nvidia-smi` and from Linux's sysfs, without torch.

GPUs are numbered as in torch. For NVIDIA, this requires CUDA_DEVICE_ORDER=PCI_BUS_ID, the order of
nvidia-smi; the engine sets it. `requirements.py` checks whether the installed torch supports a GPU.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hermes_cli.models.units import GIB, MIB

Kind = Literal["cuda", "rocm", "xpu", "mps", "vulkan"]
"""The interface through which torch or llama.cpp uses a GPU. Only llama.cpp uses `vulkan`."""

NVIDIA_FIELDS = ("index", "uuid", "compute_cap", "memory.total", "memory.free", "name")
NVIDIA_FIELDS_BEFORE_510 = ("index", "uuid", "memory.total", "memory.free", "name")
"""The fields for drivers before version 510, which reject a query that includes `compute_cap`."""

NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"
DISPLAY_CLASSES = ("0x0300", "0x0302")
"""PCI classes of GPUs with and without display outputs. Source: pci_ids.h, PCI_CLASS_DISPLAY_VGA and _3D."""
SMALLEST_MEMORY = 2 * GIB
"""AMD GPUs with less memory are ignored. Processors with integrated graphics report reserved RAM as VRAM:
usually 512 MiB, too little to run a model. The firmware can be set to reserve more."""
BFLOAT16_GFX = re.compile(r"gfx(908|90a|94\d|950|1[1-9]\d\d)")
"""AMD architectures that multiply bfloat16 in hardware: CDNA 1 and later, RDNA 3 and later."""
METAL_STEP = 36 * GIB


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU. Sizes are in bytes; `memory_free` is the memory that no program uses.

    `index` is the number of the GPU among those of its kind. `capability` is CUDA's compute capability, or
    None if unknown. `arch` is AMD's architecture name (`gfx1100`), or empty if unknown. `llama_name` is the
    name in llama.cpp (`CUDA0`). `shares_memory` is true if the GPU uses main memory.
    """

    name: str
    memory_total: int
    memory_free: int
    kind: Kind = "cuda"
    index: int = 0
    capability: tuple[int, int] | None = None
    arch: str = ""
    uuid: str = ""
    llama_name: str = ""
    shares_memory: bool = False

    @property
    def label(self) -> str:
        """The name to display: `cuda:0`, `rocm:1`, `xpu:0`, `mps`."""
        return "mps" if self.kind == "mps" else f"{self.kind}:{self.index}"

    @property
    def torch_name(self) -> str:
        """The name in torch, which treats AMD GPUs as CUDA devices."""
        return self.label.replace("rocm", "cuda")

    @property
    def has_bfloat16(self) -> bool:
        """Whether the GPU multiplies bfloat16 in hardware. False for NVIDIA and AMD GPUs if unknown."""
        if self.kind == "cuda":
            return self.capability is not None and self.capability >= (8, 0)
        if self.kind == "rocm":
            return BFLOAT16_GFX.fullmatch(self.arch) is not None
        return True


def parse_nvidia_smi(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs in the output of `nvidia-smi --query-gpu` for NVIDIA_FIELDS or the older fields.

    The format is `--format=csv,noheader,nounits`: one GPU per line, sizes in MiB. Other lines are skipped,
    such as that of a GPU partitioned with MIG, which has no number for its memory.
    """
    line_pattern = r"(\d+), *([^,]*), *(?:(\d+)\.(\d+), *|\[[^,]*\], *)?(\d+), *(\d+), *(.+?) *"
    gpus = []
    for line in text.splitlines():
        if match := re.fullmatch(line_pattern, line):
            index, uuid, major, minor, total, free, name = match.groups()
            capability = (int(major), int(minor)) if major else None
            gpus.append(
                Gpu(name, int(total) * MIB, int(free) * MIB, "cuda", int(index), capability, "", uuid)
            )
    return tuple(gpus)


def visible(gpus: tuple[Gpu, ...], setting: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that `setting`, a value of CUDA_VISIBLE_DEVICES, selects, or all if it is None.

    They are renumbered in the order of the setting, which lists numbers or prefixes of UUIDs. CUDA stops at
    the first unknown name, so an empty string and -1 select no GPU. A duplicate also selects none (source:
    the CUDA C++ Programming Guide, "Environment Variables"; `torch.cuda._parse_visible_devices`).
    """
    if setting is None:
        return gpus
    chosen: list[Gpu] = []
    for identifier in setting.split(","):
        gpu = _find(gpus, identifier.strip())
        if gpu is None:
            break
        if gpu in chosen:
            return ()
        chosen.append(gpu)
    return tuple(replace(gpu, index=number) for number, gpu in enumerate(chosen))


def _find(gpus: tuple[Gpu, ...], identifier: str) -> Gpu | None:
    if re.fullmatch(r"\+?\d{1,9}", identifier):
        return next((gpu for gpu in gpus if gpu.index == int(identifier)), None)
    if not identifier.upper().startswith("GPU-"):
        return None
    matches = [gpu for gpu in gpus if gpu.uuid.lower().startswith(identifier.lower())]
    return matches[0] if len(matches) == 1 else None


def rocm_gpus(root: Path, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the AMD GPUs that the amdgpu driver lists in sysfs under `root`, sorted by PCI slot.

    ROCR_VISIBLE_DEVICES applies first, and then HIP_VISIBLE_DEVICES, or CUDA_VISIBLE_DEVICES if that is not
    set.
    """
    gpus: list[Gpu] = []
    for folder in _gpu_folders(root, AMD):
        total = read_number(folder, "device/mem_info_vram_total")
        if total < SMALLEST_MEMORY:
            continue
        free = max(0, total - read_number(folder, "device/mem_info_vram_used"))
        arch = _gfx(root, folder)
        name = read_text(folder / "device/product_name") or f"AMD {arch}".strip()
        uuid = f"GPU-{read_text(folder / 'device/unique_id')}"
        gpus.append(Gpu(name, total, free, "rocm", len(gpus), None, arch, uuid))
    rocr_visible = visible(tuple(gpus), environ.get("ROCR_VISIBLE_DEVICES"))
    return visible(rocr_visible, environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES")))


def xpu_gpus(root: Path) -> tuple[Gpu, ...]:
    """Return the Intel GPUs whose driver reports the size of their memory.

    The drivers i915 (`lmem_total_bytes`) and xe (`tile*/physical_vram_size_bytes`) report it only for
    dedicated memory, and not in every version. A GPU with an unknown size is left out, because a plan with a
    guessed size could run out of memory. Only i915 reports the free memory; otherwise, all memory counts as
    free.
    """
    gpus: list[Gpu] = []
    for folder in _gpu_folders(root, INTEL):
        total = read_number(folder, "lmem_total_bytes", "device/lmem_total_bytes")
        for tile in () if total else folder.glob("device/tile*"):
            total += read_number(tile, "physical_vram_size_bytes", "memory/physical_vram_size_bytes")
        if total:
            free = read_number(folder, "lmem_avail_bytes", "device/lmem_avail_bytes") or total
            gpus.append(Gpu("Intel GPU", total, min(free, total), "xpu", len(gpus)))
    return tuple(gpus)


def apple_gpu(name: str, memory_total: int, memory_available: int) -> Gpu:
    """Return the GPU of an Apple chip, which shares main memory.

    Metal lets a program use about two thirds of the memory on machines with up to 36 GB, and three quarters
    on larger ones. This is an estimate from values of `recommendedMaxWorkingSetSize` on machines with 8 to
    128 GB. Apple documents no rule, and `sysctl iogpu.wired_limit_mb` can change the limit.
    """
    limit = memory_total * 3 // 4 if memory_total > METAL_STEP else memory_total * 2 // 3
    return Gpu(name, limit, min(limit, memory_available), "mps", shares_memory=True)


def without_driver(root: Path, gpus: tuple[Gpu, ...]) -> tuple[str, ...]:
    """Return the vendors that have a GPU in this machine, but none in `gpus`.

    Only NVIDIA is checked, because its GPUs cannot be used without NVIDIA's own driver.
    """
    if any(gpu.kind == "cuda" for gpu in gpus):
        return ()
    slots = root.glob("sys/bus/pci/devices/*")
    classes = (read_text(p / "class") for p in slots if read_text(p / "vendor") == NVIDIA)
    return ("NVIDIA",) if any(code.startswith(DISPLAY_CLASSES) for code in classes) else ()


def _gpu_folders(root: Path, vendor: str) -> list[Path]:
    """Return the sysfs folders of a vendor's GPUs, sorted by PCI slot as in torch."""
    gpu_folders = [p for p in root.glob("sys/class/drm/card*") if re.fullmatch(r"card\d+", p.name)]
    of_vendor = [p for p in gpu_folders if read_text(p / "device/vendor") == vendor]
    return sorted(of_vendor, key=lambda p: ((p / "device").resolve().name, int(p.name[4:])))


def _gfx(root: Path, folder: Path) -> str:
    """Return the architecture name of an AMD GPU from the compute driver, or an empty string."""
    minors = {p.name.removeprefix("renderD") for p in folder.glob("device/drm/renderD*")}
    for node in root.glob("sys/class/kfd/kfd/topology/nodes/*/properties"):
        node_properties = dict(re.findall(r"^(\w+) (\d+)$", read_text(node), re.MULTILINE))
        version = int(node_properties.get("gfx_target_version", "0")[:9])
        if version and node_properties.get("drm_render_minor") in minors:
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def read_number(folder: Path, *names: str) -> int:
    """Return the first positive number in the files `names` of `folder`, or 0."""
    for name in names:
        text = read_text(folder / name)
        if text.isascii() and text.isdecimal() and len(text) < 20 and int(text):  # noqa: PLR2004 - 64 bits
            return int(text)
    return 0


def read_text(path: Path) -> str:
    """Return the text of a file without surrounding whitespace, or an empty string if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
