"""The devices that a model can run on: the CPU, one GPU, or several of one kind."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.request import AUTO, CPU, GPU_KINDS
from hermes_cli.models.units import GIB, gib

_USED_BY_OTHERS: Final = 0.15
"""If other programs use more than this share of a GPU's memory, and more than 1 GiB, the plan mentions it."""


class Place(NamedTuple):
    """The devices that hold a model: `gpus`, or only main memory if there are none. Sizes are in bytes.

    `free` is the free memory of each device. `main_memory` is the space for layers that are not on a GPU.
    """

    gpus: tuple[Gpu, ...]
    free: tuple[int, ...]
    main_memory: int = 0

    @property
    def label(self) -> str:
        """The name to display: `cpu`, `cuda:0`, `cuda:0+1`."""
        if not self.gpus:
            return CPU
        return "+".join([self.gpus[0].label, *(str(gpu.index) for gpu in self.gpus[1:])])

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of the devices in torch."""
        return tuple(gpu.torch_name for gpu in self.gpus) or (CPU,)

    @property
    def memory_available(self) -> int:
        """The free memory of all devices together, in bytes."""
        return sum(self.free)

    @property
    def name(self) -> str:
        """The name for use in a sentence: `cuda:0 (NVIDIA GeForce RTX 3090)`, `main memory`."""
        if not self.gpus:
            return "main memory"
        if len(self.gpus) == 1:
            return f"{self.label} ({self.gpus[0].name})"
        return f"{', '.join(gpu.label for gpu in self.gpus[:-1])} and {self.gpus[-1].label} together"

    @property
    def memory_text(self) -> str:
        """The kind of memory: `main memory`, `GPU memory`."""
        return "GPU memory" if self.gpus else "main memory"

    @property
    def used_by_others(self) -> str:
        """A clause about the memory of a single GPU that other programs use, or empty if it is little."""
        if len(self.gpus) != 1 or self.gpus[0].kind == "mps":
            return ""
        total = self.gpus[0].memory_total
        used = total - self.gpus[0].memory_free
        if used <= max(GIB, _USED_BY_OTHERS * total):
            return ""
        return f"other programs use {gib(used)} of the GPU's {gib(total)} GiB"


def cpu_place(hardware: Hardware) -> Place:
    """Return the CPU as a Place, with the free main memory."""
    return Place((), (hardware.memory_available,))


def gpu_place(gpus: list[Gpu], main_memory: int = 0) -> Place:
    """Return a Place of the given GPUs, sorted by index."""
    ordered = tuple(sorted(gpus, key=lambda gpu: gpu.index))
    return Place(ordered, tuple(gpu.memory_free for gpu in ordered), main_memory)


def gpu_groups(gpus: Sequence[Gpu], device: str) -> list[list[Gpu]]:
    """Return the GPUs that `device` allows, one list per kind, with the most free memory first.

    The result is empty for `cpu`, and for `auto` without GPUs. Raises UsageError if the requested device does
    not exist.
    """
    if device == CPU:
        return []
    found = list(gpus) if device == AUTO else _requested_gpus(gpus, device)
    found.sort(key=lambda gpu: (GPU_KINDS.index(gpu.kind), -gpu.memory_free, gpu.index))
    return [list(group) for _, group in groupby(found, key=lambda gpu: gpu.kind)]


def _requested_gpus(existing: Sequence[Gpu], device: str) -> list[Gpu]:
    kind, _, numbers = device.partition(":")
    gpus = [gpu for gpu in existing if gpu.kind == kind]
    if kind == "cuda" and not gpus:  # torch treats AMD GPUs as CUDA devices
        gpus = [gpu for gpu in existing if gpu.kind == "rocm"]
    if numbers:
        indexes = {int(number) for number in numbers.split("+")}
        gpus = [gpu for gpu in gpus if gpu.index in indexes]
        if len(gpus) < len(indexes):
            gpus = []
    if not gpus:
        known = ", ".join([CPU, *(f"{gpu.label} ({gpu.name})" for gpu in existing)])
        raise UsageError(f"there is no device {device} on this machine", f"the devices are: {known}")
    return gpus
