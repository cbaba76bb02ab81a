"""Detects the GPUs of this machine from the output of `nvidia-smi` and from Linux's sysfs, without torch.

`requirements.py` checks whether the installed torch supports a GPU. The numbers of GPUs are torch's, provided
that CUDA counts them in the order of their slots as nvidia-smi does (CUDA_DEVICE_ORDER=PCI_BUS_ID). The
engine sets that variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hermes_cli.models.units import GIB, MIB

Kind = Literal["cuda", "rocm", "xpu", "mps", "vulkan"]
"""The kind of a GPU: the interface through which torch or llama.cpp uses it. torch has no `vulkan`."""

NVIDIA_FIELDS = ("index", "uuid", "compute_cap", "memory.total", "memory.free", "name")
NVIDIA_FIELDS_BEFORE_510 = ("index", "uuid", "memory.total", "memory.free", "name")
"""Drivers before 510 reject the whole query because of the field `compute_cap`."""

NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"
DISPLAY_CLASSES = ("0x0300", "0x0302")
"""PCI classes of GPUs: with and without a screen. Source: pci_ids.h, PCI_CLASS_DISPLAY_VGA and _3D."""
SMALLEST_MEMORY = 2 * GIB
"""AMD processors with integrated graphics reserve some RAM, usually 512 MiB, and report it as VRAM. That is
too little to run a model. A larger reservation, set in the firmware, is accepted."""
BFLOAT16_GFX = re.compile(r"gfx(908|90a|94\d|950|1[1-9]\d\d)")
"""AMD's architectures with bfloat16 multiplication in hardware: CDNA 1 and later, RDNA 3 and later."""
METAL_STEP = 36 * GIB


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU. Sizes are bytes; `memory_free` is the memory that other programs do not use.

    `index` is torch's number of the GPU among those of its kind. `capability` is CUDA's compute capability,
    `arch` AMD's name of the architecture (`gfx1100`); they are None and empty if the system does not report
    them. `llama_name` is llama.cpp's name of the GPU in its log (`CUDA0`).
    `shares_memory` means that its memory is main memory.
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
        """The name for the user: `cuda:0`, `rocm:1`, `xpu:0`, `mps`."""
        return "mps" if self.kind == "mps" else f"{self.kind}:{self.index}"

    @property
    def torch_name(self) -> str:
        """The name in torch, where AMD's GPUs are CUDA devices."""
        return self.label.replace("rocm", "cuda")

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 in hardware. False if that is not known."""
        if self.kind == "cuda":
            return self.capability is not None and self.capability >= (8, 0)
        if self.kind == "rocm":
            return BFLOAT16_GFX.fullmatch(self.arch) is not None
        return True


def parse_nvidia_smi(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs in the output of `nvidia-smi --query-gpu` for either of the two lists of fields.

    The format is `--format=csv,noheader,nounits`: one GPU a line, sizes in MiB. Other lines are skipped, such
    as a GPU that is partitioned with MIG, whose memory is not a number.
    """
    line_form = r"(\d+), *([^,]*), *(?:(\d+)\.(\d+), *|\[[^,]*\], *)?(\d+), *(\d+), *(.+?) *"
    gpus = []
    for line in text.splitlines():
        if match := re.fullmatch(line_form, line):
            index, uuid, major, minor, total, free, name = match.groups()
            capability = (int(major), int(minor)) if major else None
            gpus.append(
                Gpu(name, int(total) * MIB, int(free) * MIB, "cuda", int(index), capability, "", uuid)
            )
    return tuple(gpus)


def visible(gpus: tuple[Gpu, ...], setting: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES selects, renumbered in its order, or all of them for None.

    A GPU is named by its number or by a prefix of its UUID. CUDA stops at the first unknown name, so an empty
    text and -1 select no GPU. A GPU that is named twice selects none either (source: the CUDA C++ Programming
    Guide, "Environment Variables"; `torch.cuda._parse_visible_devices`).
    """
    if setting is None:
        return gpus
    chosen: list[Gpu] = []
    for word in setting.split(","):
        gpu = _find(gpus, word.strip())
        if gpu is None:
            break
        if gpu in chosen:
            return ()
        chosen.append(gpu)
    return tuple(replace(gpu, index=number) for number, gpu in enumerate(chosen))


def _find(gpus: tuple[Gpu, ...], word: str) -> Gpu | None:
    if re.fullmatch(r"\+?\d{1,9}", word):
        return next((gpu for gpu in gpus if gpu.index == int(word)), None)
    if not word.upper().startswith("GPU-"):
        return None
    found = [gpu for gpu in gpus if gpu.uuid.lower().startswith(word.lower())]
    return found[0] if len(found) == 1 else None


def rocm_gpus(root: Path, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the AMD GPUs that the amdgpu driver lists under `root`/sys, in the order of their slots.

    ROCR_, HIP_ and CUDA_VISIBLE_DEVICES are respected in the order in which torch reads them.
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
    left = visible(tuple(gpus), environ.get("ROCR_VISIBLE_DEVICES"))
    return visible(left, environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES")))


def xpu_gpus(root: Path) -> tuple[Gpu, ...]:
    """Return the Intel GPUs whose driver reports the size of their memory.

    i915 and xe report it only for GPUs with dedicated memory (`lmem_total_bytes`;
    `tile*/physical_vram_size_bytes`), and not in every version. Only i915 reports the free memory. A GPU with
    an unknown size is left out, because a wrong guess would run out of memory. If the free memory is unknown,
    all of it counts as free.
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
    """Return the GPU of an Apple chip, which shares the processor's memory.

    Metal allows a program about two thirds of the memory up to 36 GB, and three quarters above. This is an
    estimate from values of `recommendedMaxWorkingSetSize` on machines of 8 to 128 GB. Apple documents no
    rule, and `sysctl iogpu.wired_limit_mb` can change the limit.
    """
    limit = memory_total * 3 // 4 if memory_total > METAL_STEP else memory_total * 2 // 3
    return Gpu(name, limit, min(limit, memory_available), "mps", shares_memory=True)


def without_driver(root: Path, gpus: tuple[Gpu, ...]) -> tuple[str, ...]:
    """Return the vendors of GPUs in the slots of this machine that none of `gpus` belongs to.

    Only NVIDIA's are reported: without NVIDIA's own driver nothing else supports them.
    """
    if any(gpu.kind == "cuda" for gpu in gpus):
        return ()
    slots = root.glob("sys/bus/pci/devices/*")
    classes = (read_text(p / "class") for p in slots if read_text(p / "vendor") == NVIDIA)
    return ("NVIDIA",) if any(code.startswith(DISPLAY_CLASSES) for code in classes) else ()


def _gpu_folders(root: Path, vendor: str) -> list[Path]:
    """Return the sysfs folders of a vendor's GPUs, sorted by slot as in torch."""
    found = [p for p in root.glob("sys/class/drm/card*") if re.fullmatch(r"card\d+", p.name)]
    mine = [p for p in found if read_text(p / "device/vendor") == vendor]
    return sorted(mine, key=lambda p: ((p / "device").resolve().name, int(p.name[4:])))


def _gfx(root: Path, folder: Path) -> str:
    """Return AMD's name of a GPU's architecture, from the compute driver's node for the same device."""
    minors = {p.name.removeprefix("renderD") for p in folder.glob("device/drm/renderD*")}
    for node in root.glob("sys/class/kfd/kfd/topology/nodes/*/properties"):
        facts = dict(re.findall(r"^(\w+) (\d+)$", read_text(node), re.MULTILINE))
        version = int(facts.get("gfx_target_version", "0")[:9])
        if version and facts.get("drm_render_minor") in minors:
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def read_number(folder: Path, *names: str) -> int:
    """Return the number in the first of some files of the system that holds a positive one, or 0."""
    for name in names:
        text = read_text(folder / name)
        if text.isascii() and text.isdecimal() and len(text) < 20 and int(text):  # noqa: PLR2004 - 64 bits
            return int(text)
    return 0


def read_text(path: Path) -> str:
    """Return the text of a file of the system, empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
