"""The graphics cards that a model could be computed on, by what the system says of them.

It reads texts: what `nvidia-smi` prints, and Linux's sysfs. It imports no torch, so it cannot know whether
the torch that is installed drives a card (`requirements.py` looks at that). Numbers are those that torch will
give the cards, provided that CUDA counts them in the order of their slots (CUDA_DEVICE_ORDER=PCI_BUS_ID, as
nvidia-smi does): the engine sees to that.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hermes_cli.models.units import GIB, MIB

Kind = Literal["cuda", "rocm", "xpu", "mps"]

NVIDIA_FIELDS = ("index", "uuid", "compute_cap", "memory.total", "memory.free", "name")
NVIDIA_FIELDS_BEFORE_510 = ("index", "uuid", "memory.total", "memory.free", "name")
"""Older drivers refuse the whole question for the one field that they do not know."""

AMD, INTEL = "0x1002", "0x8086"
SMALLEST_CARD = 2 * GIB
"""An AMD processor with graphics in it sets a little RAM aside (512 MiB as a rule) and calls that VRAM. Such
a carve-out is no card to compute on; one that its owner made larger in the firmware is."""
BFLOAT16_GFX = re.compile(r"gfx(908|90a|94\d|950|1[1-9]\d\d)")
"""AMD's architectures that multiply bfloat16 in hardware: CDNA 1 and later, RDNA 3 and later."""
METAL_STEP = 36 * GIB


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card. Sizes are bytes; `memory_free` is what other programs leave.

    `index` counts the cards of a kind as torch does. `capability` is CUDA's compute capability and `arch`
    AMD's name for the same (`gfx1100`); None and empty where the system does not say.
    """

    name: str
    memory_total: int
    memory_free: int
    kind: Kind = "cuda"
    index: int = 0
    capability: tuple[int, int] | None = None
    arch: str = ""
    uuid: str = ""

    @property
    def label(self) -> str:
        """What a person calls it: `cuda:0`, `rocm:1`, `xpu:0`, `mps`."""
        return "mps" if self.kind == "mps" else f"{self.kind}:{self.index}"

    @property
    def torch_name(self) -> str:
        """What torch calls it; to torch AMD's cards are CUDA devices, too."""
        return self.label.replace("rocm", "cuda")

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 in hardware; where that is not known, no."""
        if self.kind == "cuda":
            return self.capability is not None and self.capability >= (8, 0)
        if self.kind == "rocm":
            return BFLOAT16_GFX.fullmatch(self.arch) is not None
        return True


def parse_nvidia_smi(text: str) -> tuple[Gpu, ...]:
    """Return the cards in what `nvidia-smi --query-gpu` prints for either of the two lists of fields.

    One line a card, sizes in MiB, as `--format=csv,noheader,nounits` gives them. Other lines are skipped: a
    card that is cut into MIG slices has no number for its memory.
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
    """Return the cards that CUDA_VISIBLE_DEVICES leaves, numbered anew in its order; all of them for None.

    Cards are named by number or by the beginning of their UUID. CUDA stops at the first name that it does not
    know, so an empty text and -1 leave none, and a card named twice leaves none (source: the CUDA C++
    Programming Guide, "Environment Variables"; `torch.cuda._parse_visible_devices`).
    """
    if setting is None:
        return gpus
    chosen: list[Gpu] = []
    for word in setting.split(","):
        card = _named(gpus, word.strip())
        if card is None:
            break
        if card in chosen:
            return ()
        chosen.append(card)
    return tuple(replace(card, index=number) for number, card in enumerate(chosen))


def _named(gpus: tuple[Gpu, ...], word: str) -> Gpu | None:
    if re.fullmatch(r"\+?\d{1,9}", word):
        return next((gpu for gpu in gpus if gpu.index == int(word)), None)
    if not word.upper().startswith("GPU-"):
        return None
    found = [gpu for gpu in gpus if gpu.uuid.lower().startswith(word.lower())]
    return found[0] if len(found) == 1 else None


def rocm_gpus(root: Path, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return AMD's cards that the amdgpu driver lists under `root`/sys, in the order of their slots.

    ROCR_, HIP_ and CUDA_VISIBLE_DEVICES are respected, which torch reads in that order.
    """
    cards: list[Gpu] = []
    for card in _cards(root, AMD):
        total = _number(card / "device/mem_info_vram_total")
        if total is None or total < SMALLEST_CARD:
            continue
        free = max(0, total - (_number(card / "device/mem_info_vram_used") or 0))
        arch = _gfx(root, card)
        name = _text(card / "device/product_name") or f"AMD {arch}".strip()
        uuid = f"GPU-{_text(card / 'device/unique_id')}"
        cards.append(Gpu(name, total, free, "rocm", len(cards), None, arch, uuid))
    left = visible(tuple(cards), environ.get("ROCR_VISIBLE_DEVICES"))
    return visible(left, environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES")))


def xpu_gpus(root: Path) -> tuple[Gpu, ...]:
    """Return Intel's cards of which the driver tells how much memory they have.

    i915 and xe publish it for cards with memory of their own only (`lmem_total_bytes`;
    `tile*/physical_vram_size_bytes`), not in every version, and what of it is free only i915. Where the size
    is not told the card is left out: a guess would end in an out-of-memory. Where the free part is not told,
    all of it counts as free.
    """
    cards: list[Gpu] = []
    for card in _cards(root, INTEL):
        tiles = [n for p in sorted(card.glob("device/tile*")) if (n := _vram_of_tile(p)) is not None]
        total = _number(card / "lmem_total_bytes") or _number(card / "device/lmem_total_bytes") or sum(tiles)
        if not total:
            continue
        free = _number(card / "lmem_avail_bytes") or _number(card / "device/lmem_avail_bytes") or total
        cards.append(Gpu("Intel GPU", total, min(free, total), "xpu", len(cards)))
    return tuple(cards)


def apple_gpu(name: str, memory_total: int, memory_available: int) -> Gpu:
    """Return the graphics part of an Apple chip, which shares the memory of the processor.

    Metal lets a program keep about two thirds of it up to 36 GB, and three quarters above. That is an
    estimate, from what `recommendedMaxWorkingSetSize` was seen to be on machines of 8 to 128 GB; Apple
    documents no rule, and `sysctl iogpu.wired_limit_mb` can move it.
    """
    limit = memory_total * 3 // 4 if memory_total > METAL_STEP else memory_total * 2 // 3
    return Gpu(name, limit, min(limit, memory_available), "mps")


def _cards(root: Path, vendor: str) -> list[Path]:
    """Return the folders of a vendor's cards by their slots, as torch counts them."""
    found = [p for p in root.glob("sys/class/drm/card*") if re.fullmatch(r"card\d+", p.name)]
    mine = [p for p in found if _text(p / "device/vendor") == vendor]
    return sorted(mine, key=lambda p: ((p / "device").resolve().name, int(p.name[4:])))


def _gfx(root: Path, card: Path) -> str:
    """Return AMD's name of a card's architecture, from the compute driver's node for the same device."""
    minors = {p.name.removeprefix("renderD") for p in card.glob("device/drm/renderD*")}
    for node in root.glob("sys/class/kfd/kfd/topology/nodes/*/properties"):
        facts = dict(re.findall(r"^(\w+) (\d+)$", _text(node), re.MULTILINE))
        version = int(facts.get("gfx_target_version", "0")[:9])
        if version and facts.get("drm_render_minor") in minors:
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def _vram_of_tile(tile: Path) -> int | None:
    return _number(tile / "physical_vram_size_bytes") or _number(tile / "memory/physical_vram_size_bytes")


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None  # noqa: PLR2004 - 64 bits


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
