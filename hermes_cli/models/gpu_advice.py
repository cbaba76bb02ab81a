"""Tells the user why a GPU is not used, and which command enables it."""

import platform
import re
from pathlib import Path
from typing import Final, NamedTuple

from hermes_cli.models import requirements
from hermes_cli.models.catalogue import WeightFormat, entry_for
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.gpus import Gpu, Kind, read_text
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.llama_build import BUILDS, INDEX, PACKAGE
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.request import PlanRequest

CPU_INFO: Final = Path("/proc/cpuinfo")
_INSTRUCTIONS: Final = {"avx512f": "AVX-512", "amx_tile": "AMX"}
SOURCE_BUILD: Final = (
    f"build llama.cpp from source (needs cmake, a C++ compiler and Rust; takes about 20 minutes): "
    f"pip install --force-reinstall --no-deps --no-binary {PACKAGE} {PACKAGE}"
)
_AUTO: Final = (None, "auto")


class Advice(NamedTuple):
    """Why a GPU is not used, and `remedy`, which enables it, such as "run: pip install …"."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}. To use it, {self.remedy}"


def advise(
    hardware: Hardware,
    plan: Plan,
    model: ModelFacts,
    request: PlanRequest,
    finder: requirements.Finder = requirements.find_package,
) -> Advice | None:
    """Return the advice about a GPU that is not used, or None if there is nothing to advise."""
    is_cpu_requested = request.device not in _AUTO or request.gpu_layers == 0
    if plan.device != "cpu" or is_cpu_requested or (plan.engine == "llama.cpp" and hardware.llama.gpus):
        return None  # the plan's reason explains why a known GPU is not used
    if plan.engine == "llama.cpp" and hardware.llama.problem:
        return problem_of_build(hardware.llama.problem)
    for vendor in hardware.without_driver:
        return missing_driver(vendor)
    return _missing_package(hardware.gpus[0], plan, model, finder) if hardware.gpus else None


def problem_of_build(problem: str) -> Advice:
    """Return the advice for a llama.cpp that is built for GPUs but cannot list them."""
    return Advice(
        f"The GPU is not used: the installed llama.cpp supports GPUs, but {problem}",
        "check the GPU's driver, for example with nvidia-smi or vulkaninfo",
    )


def missing_driver(vendor: str) -> Advice:
    """Return the advice for a GPU whose driver does not respond."""
    return Advice(f"The {vendor} GPU is not used: its driver does not respond", f"install {vendor}'s driver")


def cpu_only_build(gpu: Gpu) -> Advice:
    """Return the advice for a GPU that the installed llama.cpp is not built for."""
    return Advice(
        f"{gpu.name} is not used: the installed llama.cpp runs only on the CPU",
        f"run: {llama_command(gpu.kind)}",
    )


def _missing_package(gpu: Gpu, plan: Plan, model: ModelFacts, finder: requirements.Finder) -> Advice:
    """Return the advice for a GPU that no installed package can use."""
    has_weights = plan.engine == "transformers" or _can_use_weights(model)
    if has_weights and any(finder(name) is None for name in requirements.ENGINE_PACKAGES):
        return Advice(
            f"{gpu.name} is not used: torch and transformers are not installed",
            f"run: {requirements.INSTALL_ENGINE}",
        )
    if has_weights and requirements.torch_lacks(gpu.kind, finder):
        return Advice(f"{gpu.name} is not used: the installed torch does not support it", torch_command())
    return cpu_only_build(gpu)


def _can_use_weights(model: ModelFacts) -> bool:
    """Return whether the catalogue has 16-bit weights of the model."""
    entry = entry_for(model.repo, model.name)
    return entry is not None and any(v.format is WeightFormat.SAFETENSORS for v in entry.variants)


def llama_command(kind: Kind) -> str:
    """Return the command that installs the llama.cpp build for a kind of GPU, in the installed version."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        pinned = f"{PACKAGE}=={version(PACKAGE)}"
    except PackageNotFoundError:
        pinned = PACKAGE
    folder = BUILDS.get(kind, "vulkan")
    return f"pip install --force-reinstall --no-deps {pinned} --index-url {INDEX}/{folder}"


def unused_instructions(cpu_info: Path = CPU_INFO) -> str:
    """Return the CPU's instruction sets that xllamacpp's prebuilt wheels do not use, or an empty string.

    They are known only on Linux, from /proc/cpuinfo. A build from source is assumed to use all of them.
    """
    if not is_ordinary_wheel():
        return ""
    flags = re.search(r"^flags\s*:(.*)$", read_text(cpu_info), re.MULTILINE)
    supported = set(flags[1].split()) if flags else set()
    return " and ".join(name for flag, name in _INSTRUCTIONS.items() if flag in supported)


def is_ordinary_wheel() -> bool:
    """Return whether the installed xllamacpp is a prebuilt Linux wheel, not built from source."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return "manylinux" in (distribution(PACKAGE).read_text("WHEEL") or "")
    except PackageNotFoundError:
        return False


def torch_command() -> str:
    """Return instructions for installing torch with GPU support."""
    if platform.system() == "Linux":
        return (
            "run: pip install --force-reinstall torch (NVIDIA; for others see "
            + requirements.TORCH_BUILDS
            + ")"
        )
    return f"install a build for it ({requirements.TORCH_BUILDS})"
