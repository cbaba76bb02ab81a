"""What to install so that models run on this machine's GPU, with the size of the download.

It needs nothing but the standard library.
"""

from dataclasses import dataclass
from typing import Final

from hermes_cli.models.gpus import Gpu
from hermes_cli.models.llama_build import BUILDS, INDEX, PACKAGE

GPU_EXTRA: Final = "transformers"


@dataclass(frozen=True, slots=True)
class GpuPackages:
    """Packages for a GPU: the extra of hermes, or pip's arguments for a package from another index.

    `what` names them and their size for the user.
    """

    what: str
    extra: str = ""
    arguments: tuple[str, ...] = ()


def for_gpu(gpu: Gpu) -> GpuPackages | None:
    """Return the packages for a GPU, or None if the base installation already uses it."""
    if gpu.kind == "cuda":
        return GpuPackages("PyTorch with CUDA, a download of about 3 GB", extra=GPU_EXTRA)
    if gpu.kind == "mps":  # Metal is in the ordinary build of llama.cpp
        return None
    index = f"{INDEX}/{BUILDS[gpu.kind]}"
    return GpuPackages(
        "llama.cpp with Vulkan, a download of about 30 MB",
        arguments=("--force-reinstall", "--no-deps", "--index-url", index, PACKAGE),
    )
