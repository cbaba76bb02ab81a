"""The line for a user whose GPU is not used, and the commands in it."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from hermes_cli.models import gpu_advice
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.gpu_advice import advise, llama_command, unused_instructions
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.llama_build import LlamaBuild
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.requirements import Finder, plan_with_installed
from tests.models.plan.machines import gpu, machine, openhermes
from tests.models.plan.test_offload import device, with_llama
from tests.models.test_forms import LLAMA_3070, NO_GPU, RTX_3070, cpu_torch, every_package, no_package

GGUF, WEIGHTS = openhermes("gguf"), openhermes()
UNKNOWN = replace(GGUF, name="mine", repo=None)
INDEX = "https://xorbitsai.github.io/xllamacpp/whl"


def advice(hardware: Hardware, model: ModelFacts, finder: Finder, request: PlanRequest | None = None) -> str:
    """Return the line for a plan with the installed packages."""
    request = request or PlanRequest()
    plan = plan_with_installed(hardware, model, request, finder)
    return str(advise(hardware, plan, model, request, finder) or "")


def command(folder: str) -> str:
    """Return the command that installs a build of llama.cpp."""
    pinned = f"xllamacpp=={version('xllamacpp')}"
    return f"pip install --force-reinstall --no-deps {pinned} --index-url {INDEX}/{folder}"


def test_without_the_packages_for_the_weights_their_command_is_shown() -> None:
    """If nothing that is installed supports the GPU, the line has the command for transformers."""
    assert advice(RTX_3070, GGUF, no_package) == (
        "RTX 3070 is not used: torch and transformers are not installed. "
        "To use it, run: pip install 'openhermes-cli[transformers]'"
    )


def test_for_a_gguf_without_weights_the_command_for_llama_cpp_is_shown() -> None:
    """For a GGUF without 16-bit weights, the line has the command for a build of llama.cpp."""
    assert advice(RTX_3070, UNKNOWN, no_package) == (
        "RTX 3070 is not used: the installed llama.cpp runs only on the CPU. "
        f"To use it, run: {command('cu128')}"
    )


def test_for_a_gguf_beside_transformers_the_command_for_llama_cpp_is_shown() -> None:
    """If the packages for weights are installed and the GGUF was chosen, a build of llama.cpp would help."""
    assert advice(RTX_3070, GGUF, every_package).endswith(f"To use it, run: {command('cu128')}")


def test_a_torch_without_cuda_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the installed torch does not support the GPU, the line has the command that replaces it."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    finder = cpu_torch(tmp_path)
    assert advice(RTX_3070, WEIGHTS, finder) == (
        "RTX 3070 is not used: the installed torch does not support it. To use it, "
        "run: pip install --force-reinstall torch "
        "(NVIDIA; for others see https://pytorch.org/get-started/locally/)"
    )
    monkeypatch.setattr("platform.system", lambda: "Windows")
    assert advice(RTX_3070, WEIGHTS, finder).endswith(
        "To use it, install a build for it (https://pytorch.org/get-started/locally/)"
    )


def test_a_missing_driver_is_named() -> None:
    """If an NVIDIA GPU has no driver, the line says so."""
    hardware = replace(NO_GPU, without_driver=("NVIDIA",))
    assert advice(hardware, GGUF, no_package) == (
        "The NVIDIA GPU is not used: its driver does not respond. To use it, install NVIDIA's driver"
    )


def test_a_driver_that_does_not_answer_llama_cpp_is_named() -> None:
    """If a build for GPUs cannot list them, the line has the reason."""
    build = LlamaBuild("cuda", (), "its GPU driver did not answer within 20 seconds")
    assert advice(replace(RTX_3070, llama=build), GGUF, no_package) == (
        "The GPU is not used: the installed llama.cpp supports GPUs, "
        "but its GPU driver did not answer within 20 seconds. "
        "To use it, check the GPU's driver, for example with nvidia-smi or vulkaninfo"
    )


@pytest.mark.parametrize(
    ("hardware", "model", "plan_request"),
    [
        (NO_GPU, GGUF, PlanRequest()),
        (RTX_3070, WEIGHTS, PlanRequest()),
        (LLAMA_3070, GGUF, PlanRequest()),
        (RTX_3070, GGUF, PlanRequest(device="cpu")),
        (RTX_3070, GGUF, PlanRequest(gpu_layers=0)),
        (RTX_3070, WEIGHTS, PlanRequest(device="cpu")),
        (with_llama(device("GTX 1050", 2, 0.9)), GGUF, PlanRequest()),
    ],
    ids=["no GPU", "torch uses it", "llama.cpp uses it", "cpu", "no layers", "weights on cpu", "too small"],
)
def test_there_is_no_advice_if_the_gpu_is_used_or_the_cpu_was_requested(
    hardware: Hardware, model: ModelFacts, plan_request: PlanRequest
) -> None:
    """There is no advice if a GPU is used, if there is none, if it is too small, or for a requested CPU."""
    assert advice(hardware, model, every_package, plan_request) == ""


def test_a_device_of_the_settings_that_is_auto_is_no_request() -> None:
    """`--device auto` still gives advice."""
    assert advice(RTX_3070, GGUF, no_package, PlanRequest(device="auto"))


def test_an_amd_gpu_needs_the_vulkan_build() -> None:
    """For AMD's and Intel's GPUs, the command installs the build for Vulkan."""
    amd = machine(gpu("AMD gfx1032", 8, 7.5, kind="rocm"), free=24)
    assert advice(amd, UNKNOWN, no_package).endswith(f"To use it, run: {command('vulkan')}")
    assert llama_command("xpu") == command("vulkan")


@pytest.mark.parametrize(
    ("flags", "unused"),
    [
        ("fpu avx2 avx512f avx512bw", "AVX-512"),
        ("avx512f amx_tile", "AVX-512 and AMX"),
        ("avx512fake avx2", ""),
    ],
)
def test_unused_instructions_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, unused: str
) -> None:
    """With an ordinary wheel, AVX-512 and AMX are not used; with a build from source they are."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: avx512f\n")
    monkeypatch.setattr(gpu_advice, "is_ordinary_wheel", lambda: True)
    assert unused_instructions(tmp_path / "cpuinfo") == unused
    assert unused_instructions(tmp_path / "none") == ""
    monkeypatch.setattr(gpu_advice, "is_ordinary_wheel", lambda: False)
    assert unused_instructions(tmp_path / "cpuinfo") == ""
