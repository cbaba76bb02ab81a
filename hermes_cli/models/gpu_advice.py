"""A line for a user whose GPU is not used: the reason, and the command that helps."""

import platform
import re
from pathlib import Path
from typing import Final

from hermes_cli.models import requirements
from hermes_cli.models.catalogue import WeightFormat, entry_for
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.gpus import Gpu, Kind, read_text
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.llama_build import BUILDS, INDEX, PACKAGE
from hermes_cli.models.plan import Plan, PlanRequest

CPU_INFO: Final = Path("/proc/cpuinfo")
_INSTRUCTIONS: Final = {"avx512f": "AVX-512", "amx_tile": "AMX"}
SOURCE_BUILD: Final = (
    f"to use it, build from source (cmake, a C++ compiler and Rust; about 20 minutes): "
    f"pip install --force-reinstall --no-deps --no-binary {PACKAGE} {PACKAGE}"
)
_AUTO: Final = (None, "auto")


def advise(
    hardware: Hardware,
    plan: Plan,
    model: ModelFacts,
    request: PlanRequest,
    finder: requirements.Finder = requirements.find_package,
) -> str:
    """Return the line, or an empty string if a GPU is used, there is no GPU, or the user wants the CPU."""
    is_cpu_wanted = request.device not in _AUTO or request.gpu_layers == 0
    if plan.device != "cpu" or is_cpu_wanted or (plan.engine == "llama.cpp" and hardware.llama.gpus):
        return ""  # the plan's reason says why a known GPU is not used
    if plan.engine == "llama.cpp" and hardware.llama.problem:
        return f"The GPU is not used: the installed llama.cpp supports GPUs, but {hardware.llama.problem}."
    for vendor in hardware.without_driver:
        return f"The {vendor} GPU is not used: its driver does not respond. Install {vendor}'s driver."
    return _install_line(hardware.gpus[0], plan, model, finder) if hardware.gpus else ""


def _install_line(gpu: Gpu, plan: Plan, model: ModelFacts, finder: requirements.Finder) -> str:
    """Return the line about a GPU that no installed package supports."""
    has_weights = plan.engine == "transformers" or _can_use_weights(model)
    if has_weights and any(finder(name) is None for name in requirements.ENGINE_PACKAGES):
        why, remedy = "torch and transformers are not installed", f"run: {requirements.INSTALL_ENGINE}"
    elif has_weights and requirements.torch_lacks(gpu.kind, finder):
        why, remedy = "the installed torch does not support it", torch_command()
    else:
        why, remedy = "the installed llama.cpp runs only on the CPU", f"run: {llama_command(gpu.kind)}"
    return f"{gpu.name} is not used: {why}. To use it, {remedy}"


def _can_use_weights(model: ModelFacts) -> bool:
    """Return whether 16-bit weights of the same model exist."""
    entry = entry_for(model.repo, model.name)
    return entry is not None and any(v.format is WeightFormat.SAFETENSORS for v in entry.variants)


def llama_command(kind: Kind) -> str:
    """Return the command that installs a build of llama.cpp for a kind of GPU, in the installed version."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        pinned = f"{PACKAGE}=={version(PACKAGE)}"
    except PackageNotFoundError:
        pinned = PACKAGE
    folder = BUILDS.get(kind, "vulkan")
    return f"pip install --force-reinstall --no-deps {pinned} --index-url {INDEX}/{folder}"


def unused_instructions(cpu_info: Path = CPU_INFO) -> str:
    """Return the processor's instruction sets that xllamacpp's ordinary wheels do not use, or "".

    They are known only on Linux, from the processor's flags. A build from source is taken to use all of them.
    """
    if not is_ordinary_wheel():
        return ""
    flags = re.search(r"^flags\s*:(.*)$", read_text(cpu_info), re.MULTILINE)
    have = set(flags[1].split()) if flags else set()
    return " and ".join(name for flag, name in _INSTRUCTIONS.items() if flag in have)


def is_ordinary_wheel() -> bool:
    """Return whether the installed xllamacpp is a wheel for any Linux, and not built on this machine."""
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
