"""Places to run a model: the CPU, one GPU, or several GPUs of a kind; and the values of --device."""

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from hermes_cli.errors import UsageError
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.units import GIB, gib

AUTO: Final = "auto"
CPU: Final = "cpu"
_WORD = re.compile(r"(cuda|rocm|xpu|mps)(?::(\d{1,3}(?:\+\d{1,3})*))?")
_SHARED: Final = 0.15
"""If the desktop and the driver use a larger share of a GPU's memory, the plan mentions it."""


@dataclass(frozen=True, slots=True)
class Place:
    """The memory for a model's layers: on `gpus`, or in main memory if there are none. `free` is in bytes."""

    gpus: tuple[Gpu, ...]
    free: tuple[int, ...]

    @property
    def label(self) -> str:
        """The name for the user: `cpu`, `cuda:0`, `cuda:0+1`."""
        if not self.gpus:
            return CPU
        return "+".join([self.gpus[0].label, *(str(gpu.index) for gpu in self.gpus[1:])])

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of its devices in torch."""
        return tuple(gpu.torch_name for gpu in self.gpus) or (CPU,)

    @property
    def memory_available(self) -> int:
        """Free bytes, all GPUs together."""
        return sum(self.free)

    @property
    def name(self) -> str:
        """The name in a sentence: `cuda:0 (NVIDIA GeForce RTX 3090)`, `main memory`."""
        if not self.gpus:
            return "main memory"
        if len(self.gpus) == 1:
            return f"{self.label} ({self.gpus[0].name})"
        return f"{', '.join(gpu.label for gpu in self.gpus[:-1])} and {self.gpus[-1].label} together"

    @property
    def used_by_others(self) -> str:
        """A clause about the memory that other programs use on a single GPU, or empty if it is little."""
        gpu = self.gpus[0] if len(self.gpus) == 1 else None
        if gpu is None or gpu.kind == "mps":
            return ""
        used = gpu.memory_total - gpu.memory_free
        if used <= max(GIB, _SHARED * gpu.memory_total):
            return ""
        return f"other programs hold {gib(used)} of the card's {gib(gpu.memory_total)} GiB"


def cpu_place(hardware: Hardware) -> Place:
    """Return the CPU with the free main memory."""
    return Place((), (hardware.memory_available,))


def check_word(requested: str | None) -> str:
    """Return the requested device in lower case, or `auto` for None. Raises UsageError if it is unknown."""
    word = (requested or AUTO).strip().lower()
    if word not in (AUTO, CPU) and not _WORD.fullmatch(word):
        raise UsageError(
            f"--device takes auto, cpu, cuda, rocm, xpu or mps, or one with a number (cuda:0), "
            f"not '{(requested or '')[:40]}'"
        )
    return word


def gpu_groups(hardware: Hardware, word: str) -> list[list[Gpu]]:
    """Return the GPUs that may be used, one list for each kind, those with the most free memory first.

    The result is empty for `cpu`, and for `auto` on a machine without GPUs. Raises UsageError if the
    requested device does not exist.
    """
    if word == CPU:
        return []
    chosen = list(hardware.gpus) if word == AUTO else _requested(hardware, word)
    chosen.sort(key=lambda gpu: ("cuda rocm xpu mps".index(gpu.kind), -gpu.memory_free, gpu.index))
    return [list(cards) for _, cards in groupby(chosen, key=lambda gpu: gpu.kind)]


def is_exact(word: str) -> bool:
    """Return whether a device names specific GPUs (`cuda:0+1`), all of which must be used."""
    return ":" in word


def place_of(gpus: list[Gpu]) -> Place:
    """Return the place that consists of the given GPUs, in the order of their numbers."""
    ordered = tuple(sorted(gpus, key=lambda gpu: gpu.index))
    return Place(ordered, tuple(gpu.memory_free for gpu in ordered))


def _requested(hardware: Hardware, word: str) -> list[Gpu]:
    match = _WORD.fullmatch(word)
    kind, numbers = match.groups() if match else ("", None)
    # AMD's GPUs are CUDA devices in torch, so `cuda` also selects them.
    kinds = ("cuda", "rocm") if kind == "cuda" and not _of(hardware, ("cuda",)) else (kind,)
    cards = _of(hardware, kinds)
    if numbers is not None:
        wanted = {int(number) for number in numbers.split("+")}
        cards = [gpu for gpu in cards if gpu.index in wanted]
        if len(cards) < len(wanted):
            cards = []
    if not cards:
        there = ", ".join(["cpu", *(f"{gpu.label} ({gpu.name})" for gpu in hardware.gpus)])
        raise UsageError(f"there is no device {word} here", f"there are: {there}")
    return cards


def _of(hardware: Hardware, kinds: tuple[str, ...]) -> list[Gpu]:
    return [gpu for gpu in hardware.gpus if gpu.kind in kinds]
