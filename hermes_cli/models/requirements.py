"""Checks that the Python packages for a plan are installed, and gives the commands to install missing ones.

Packages are looked up without importing them, because importing torch takes two seconds. torch's version file
states which kinds of GPU its build supports.
"""

import importlib.util
import re
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Final

from hermes_cli.errors import HermesError, ModelUnavailable
from hermes_cli.models.catalogue import WeightFormat, entry_for
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.request import AUTO, PlanRequest

Finder = Callable[[str], ModuleSpec | None]

ENGINE_PACKAGES: Final = ("torch", "transformers", "accelerate")
INSTALL_ENGINE: Final = "pip install 'openhermes-cli[transformers]'"
INSTALL: Final = {
    **dict.fromkeys((*ENGINE_PACKAGES, "bitsandbytes"), INSTALL_ENGINE),
    "gptqmodel": "pip install gptqmodel --no-build-isolation",
    "compressed_tensors": "pip install compressed-tensors",
}
_FOR_FORMAT: Final = {
    WeightFormat.GPTQ: ("gptqmodel",),
    WeightFormat.AWQ: ("gptqmodel",),
    WeightFormat.COMPRESSED_TENSORS: ("compressed_tensors",),
    WeightFormat.BITSANDBYTES: ("bitsandbytes",),
}
_BUILD_NAMES: Final = {"cuda": "cuda", "rocm": "hip", "xpu": "xpu"}
"""The entry in torch's version file for each kind of GPU."""
_BUILDS: Final = {"cuda": "CUDA", "hip": "ROCm", "xpu": "XPU"}
TORCH_BUILDS: Final = "https://pytorch.org/get-started/locally/"


def find_package(name: str) -> ModuleSpec | None:
    """Return the spec of a package without importing it, or None if it is not installed."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # the package is partly uninstalled
        return None


def packages(plan: Plan, model: ModelFacts) -> tuple[str, ...]:
    """Return the import names of the packages that a plan needs beyond hermes' dependencies."""
    if plan.engine != "transformers":
        return ()
    is_builtin_int8 = plan.quantization == "int8" and plan.device == "cpu"  # hermes has its own int8 layers
    bitsandbytes = ("bitsandbytes",) if plan.quantization and not is_builtin_int8 else ()
    return (*ENGINE_PACKAGES, *bitsandbytes, *_FOR_FORMAT.get(model.format, ()))


def check(plan: Plan, model: ModelFacts, finder: Finder = find_package) -> None:
    """Raise ModelUnavailable, with the install command, if a package or GPU support in torch is missing."""
    problem = unmet(plan, model, finder)
    if problem is not None:
        raise problem


def unmet(plan: Plan, model: ModelFacts, finder: Finder = find_package) -> HermesError | None:
    """Return the error that `check` would raise, or None."""
    entry = entry_for(model.repo, model.name)
    gguf = f"; or use the GGUF, which needs no packages: -m {entry.spelling(entry.gguf)}" if entry else ""
    missing = [name for name in packages(plan, model) if finder(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        names = ", ".join(name.replace("_", "-") for name in missing)
        commands = " and ".join(dict.fromkeys(INSTALL[name] for name in missing))
        return ModelUnavailable(
            f"{plan.model} in {plan.precision} runs on transformers, and {names} {verb} not installed",
            f"run {commands}{gguf}",
        )
    if build := _missing_build(plan, finder):
        return ModelUnavailable(
            f"the installed torch has no {build} support, which {plan.device} needs",
            f"install a build with {build} ({TORCH_BUILDS}), or use --device cpu{gguf}",
        )
    return None


def plan_with_installed(
    hardware: Hardware, model: ModelFacts, request: PlanRequest | None = None, finder: Finder = find_package
) -> Plan:
    """Return the plan for a model. If the installed torch does not support the GPU, plan for the CPU.

    An explicitly requested device is kept. Raises the same errors as `choose`.
    """
    plan, request = choose(hardware, model, request), request or PlanRequest()
    build = _missing_build(plan, finder)
    if not build or request.device not in (None, AUTO):
        return plan
    reason = f"the installed torch has no {build} support, which {plan.device} needs"
    return choose(hardware, model, request._replace(device="cpu", device_reason=reason))


def torch_lacks(kind: str, finder: Finder = find_package) -> bool:
    """Return whether the installed torch was built without support for a kind of GPU."""
    build, spec = _BUILD_NAMES.get(kind, ""), finder("torch")
    return bool(build) and spec is not None and not _is_built_for(spec, build)


def _missing_build(plan: Plan, finder: Finder) -> str:
    """Return the GPU support that a plan needs and the installed torch lacks, or an empty string."""
    build = _build_for(plan)
    spec = finder("torch") if build else None
    return _BUILDS[build] if spec is not None and not _is_built_for(spec, build) else ""


def _build_for(plan: Plan) -> str:
    """Return the entry in torch's version file that the plan's device needs, or an empty string if none."""
    kind = plan.device.partition(":")[0] if plan.engine == "transformers" else ""
    return _BUILD_NAMES.get(kind, "")


def _is_built_for(spec: ModuleSpec, build: str) -> bool:
    """Return whether the installed torch supports a kind of GPU. A missing entry counts as support."""
    try:
        text = (Path(spec.origin or "").parent / "version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    match = re.search(rf"^{build}\b[^=\n]*= *(.+)$", text, re.MULTILINE)
    return match is None or match.group(1).strip() != "None"
