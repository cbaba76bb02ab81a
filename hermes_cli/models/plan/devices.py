"""Places to compute: the processor, one card, or several cards of a kind, and the words to wish for one."""

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
"""Share of a card's memory that a desktop and the driver may take without being worth a word."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model's layers lie: on `gpus`, or, without any, in main memory. `free` is in bytes."""

    gpus: tuple[Gpu, ...]
    free: tuple[int, ...]

    @property
    def label(self) -> str:
        """What a person calls it: `cpu`, `cuda:0`, `cuda:0+1`."""
        if not self.gpus:
            return CPU
        return "+".join([self.gpus[0].label, *(str(gpu.index) for gpu in self.gpus[1:])])

    @property
    def devices(self) -> tuple[str, ...]:
        """Torch's names of it."""
        return tuple(gpu.torch_name for gpu in self.gpus) or (CPU,)

    @property
    def memory_available(self) -> int:
        """Bytes that are free, all cards together."""
        return sum(self.free)

    @property
    def name(self) -> str:
        """What it is, for a sentence: `cuda:0 (NVIDIA GeForce RTX 3090)`, `main memory`."""
        if not self.gpus:
            return "main memory"
        if len(self.gpus) == 1:
            return f"{self.label} ({self.gpus[0].name})"
        return f"{', '.join(gpu.label for gpu in self.gpus[:-1])} and {self.gpus[-1].label} together"

    @property
    def used_by_others(self) -> str:
        """A clause about the memory that other programs hold, where that is much; else empty."""
        gpu = self.gpus[0] if len(self.gpus) == 1 else None
        if gpu is None or gpu.kind == "mps":
            return ""
        used = gpu.memory_total - gpu.memory_free
        if used <= max(GIB, _SHARED * gpu.memory_total):
            return ""
        return f"other programs hold {gib(used)} of the card's {gib(gpu.memory_total)} GiB"


def cpu_place(hardware: Hardware) -> Place:
    """Return the processor and its memory."""
    return Place((), (hardware.memory_available,))


def check_word(wish: str | None) -> str:
    """Return the word that a wish is, `auto` for none. Raises UsageError for one that names no device."""
    word = (wish or AUTO).strip().lower()
    if word not in (AUTO, CPU) and not _WORD.fullmatch(word):
        raise UsageError(
            f"--device takes auto, cpu, cuda, rocm, xpu or mps, or one with a number (cuda:0), "
            f"not '{(wish or '')[:40]}'"
        )
    return word


def card_groups(hardware: Hardware, word: str) -> list[list[Gpu]]:
    """Return the cards that may be used, a list a kind, each with the most free memory first.

    Empty for `cpu`, and for `auto` on a machine without any. Raises UsageError where what was wished for is
    not there.
    """
    if word == CPU:
        return []
    chosen = list(hardware.gpus) if word == AUTO else _wished(hardware, word)
    chosen.sort(key=lambda gpu: ("cuda rocm xpu mps".index(gpu.kind), -gpu.memory_free, gpu.index))
    return [list(cards) for _, cards in groupby(chosen, key=lambda gpu: gpu.kind)]


def is_exact(word: str) -> bool:
    """Return whether a wish names the very cards (`cuda:0+1`): then all of them are to be used."""
    return ":" in word


def place_of(gpus: list[Gpu]) -> Place:
    """Return the place that some cards make together, in the order of their numbers."""
    ordered = tuple(sorted(gpus, key=lambda gpu: gpu.index))
    return Place(ordered, tuple(gpu.memory_free for gpu in ordered))


def _wished(hardware: Hardware, word: str) -> list[Gpu]:
    match = _WORD.fullmatch(word)
    kind, numbers = match.groups() if match else ("", None)
    # To torch AMD's cards are CUDA devices, and so they are to people who come from there.
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
