"""Where the layers of a model are: as planned, and as the engine reports after loading."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices that hold layers, by the engine's names, and how many of `total` layers are on GPUs.

    `devices` is empty if all layers are on the CPU, or if the engine does not report them.
    """

    devices: tuple[str, ...]
    on_gpu: int
    total: int

    @property
    def text(self) -> str:
        """The placement for the user: `27 of 33 layers on CUDA0`."""
        where = _joined(self.devices) if self.devices else "a GPU"
        return f"{self.on_gpu} of {self.total} layers on {where}" if self.on_gpu else "all layers on the CPU"


def difference(planned: Placement, loaded: Placement | None) -> str:
    """Return a sentence about a model that was not loaded as planned, or empty if it was.

    `loaded` is None if the engine has no report.
    """
    if loaded is None:
        return ""
    same_devices = not loaded.devices or set(loaded.devices) == set(planned.devices)
    if loaded.on_gpu == planned.on_gpu and (same_devices or not planned.on_gpu):
        return ""
    return f"the plan was {planned.text}, but the engine loaded {loaded.text}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names)
