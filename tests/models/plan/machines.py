"""Typical machines, and OpenHermes 2 in 16 bits as its model card describes it.

The free memory is what `nvidia-smi` shows: a GPU without a screen has 0.2 to 0.3 GiB less than its nominal
size, one with a desktop 0.5 to 1 GiB less.
"""

from hermes_cli.models.catalogue import CATALOGUE
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.gpus import Gpu, Kind, apple_gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.units import GIB


def openhermes(variant: str = "16bit") -> ModelFacts:
    """Return the facts of one variant of OpenHermes 2."""
    entry = CATALOGUE["openhermes-2"]
    chosen = entry.variant(variant)
    assert chosen is not None
    return facts_of_variant(entry, chosen)


def gpu(
    name: str,
    total: float,
    free: float,
    capability: tuple[int, int] | None = None,
    *,
    kind: Kind = "cuda",
    index: int = 0,
    arch: str = "",
) -> Gpu:
    """Return a GPU; sizes in GiB."""
    return Gpu(name, int(total * GIB), int(free * GIB), kind, index, capability, arch)


def machine(*gpus: Gpu, ram: float = 32, free: float | None = None) -> Hardware:
    """Return a machine with some GPUs; sizes in GiB, by default with a seventh of the memory in use."""
    available = ram * 6 / 7 if free is None else free
    return Hardware(8, 16, int(ram * GIB), int(available * GIB), "a CPU", gpus)


def mac(ram: int, available: float) -> Hardware:
    """Return a Mac; sizes in GiB."""
    chip = apple_gpu("Apple M2", ram * GIB, int(available * GIB))
    return Hardware(8, 8, ram * GIB, int(available * GIB), "Apple M2", (chip,))


def machine_with_two(name: str, total: float, free: float, capability: tuple[int, int]) -> Hardware:
    """Return a machine with two equal GPUs."""
    return machine(gpu(name, total, free, capability), gpu(name, total, free, capability, index=1))
