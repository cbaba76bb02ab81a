"""The placement of a model's layers on devices, as planned or as reported by the engine."""

from collections.abc import Sequence
from typing import NamedTuple


class Placement(NamedTuple):
    """The number of layers on GPUs, out of `total` layers, and the engine's names for those GPUs.

    `devices` is empty if all layers are on the CPU, or if the engine does not report the names.
    """

    devices: tuple[str, ...]
    on_gpu: int
    total: int

    @property
    def text(self) -> str:
        """The placement as text, such as `27 of 33 layers on CUDA0`."""
        where = _joined(self.devices) if self.devices else "a GPU"
        return f"{self.on_gpu} of {self.total} layers on {where}" if self.on_gpu else "all layers on the CPU"


def difference(planned: Placement, loaded: Placement | None) -> str:
    """Return a sentence about the difference between two placements, or an empty string if there is none.

    `loaded` is None if the engine does not report a placement.
    """
    if loaded is None:
        return ""
    same_devices = not loaded.devices or set(loaded.devices) == set(planned.devices)
    if loaded.on_gpu == planned.on_gpu and (same_devices or not planned.on_gpu):
        return ""
    return f"the plan was {planned.text}, but the engine loaded {loaded.text}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names)
