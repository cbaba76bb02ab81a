"""The form of a model that a short name selects: which one, and the reason."""

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from hermes_cli.models.catalogue import CATALOGUE, Variant
from hermes_cli.models.forms import FormChoice, choose_form, not_installed
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.requirements import Finder
from tests.models.plan.machines import gpu, machine
from tests.models.plan.test_offload import device, with_llama

RTX_3090 = machine(gpu("RTX 3090", 24, 23.6, (8, 6)), free=24)
RTX_3070 = machine(gpu("RTX 3070", 8, 7.6, (8, 6)), free=24)
NO_GPU = machine(free=24)
LLAMA_3070 = with_llama(device("RTX 3070", 8, 7.6))
LLAMA_1060 = with_llama(device("GTX 1060", 6, 5.5))
GGUF, WEIGHTS = "openhermes-2:gguf", "openhermes-2:16bit"
PACKAGES_ARE_MISSING = (
    "openhermes-2:16bit in 4-bit nf4 runs on transformers, and torch, transformers, accelerate, bitsandbytes "
    "are not installed (run pip install 'openhermes-cli[transformers]')"
)


def every_package(name: str) -> ModuleSpec:
    """Find every package; the build of torch is unknown."""
    return ModuleSpec(name, None)


def no_package(_name: str) -> None:
    """Find no package."""


def cpu_torch(tmp_path: Path) -> Finder:
    """Return a finder of every package, with a torch that supports no GPU."""
    (tmp_path / "version.py").write_text("cuda = None\nhip = None\n")

    def find(name: str) -> ModuleSpec:
        return ModuleSpec(name, None, origin=str(tmp_path / "__init__.py"))

    return find


def installed(*names: str) -> Callable[[Variant], bool]:
    """Return a function that tells whether a variant is among `names`."""
    return lambda variant: variant.name in names


def choose(
    hardware: Hardware,
    finder: Finder = every_package,
    request: PlanRequest | None = None,
    *,
    is_installed: Callable[[Variant], bool] | None = None,
) -> FormChoice:
    """Return the form of OpenHermes 2."""
    entry = CATALOGUE["openhermes-2"]
    return choose_form(entry, hardware, request, finder=finder, is_installed=is_installed)


@pytest.mark.parametrize(
    ("hardware", "finder", "name", "reasons"),
    [
        (
            RTX_3090,
            every_package,
            WEIGHTS,
            (
                "openhermes-2:16bit runs in bf16 on cuda:0 (RTX 3090)",
                (
                    "openhermes-2:gguf would run in Q4_K_M on the CPU, "
                    "because the installed llama.cpp does not support cuda:0"
                ),
            ),
        ),
        (
            RTX_3070,
            every_package,
            WEIGHTS,
            (
                "openhermes-2:16bit runs in 4-bit nf4 on cuda:0 (RTX 3070)",
                (
                    "openhermes-2:gguf would run in Q4_K_M on the CPU, "
                    "because the installed llama.cpp does not support cuda:0"
                ),
            ),
        ),
        (
            LLAMA_3070,
            no_package,
            GGUF,
            (
                "openhermes-2:gguf runs in Q4_K_M on cuda:0 (RTX 3070) with 33 of 33 layers",
                PACKAGES_ARE_MISSING,
            ),
        ),
        (
            NO_GPU,
            every_package,
            GGUF,
            (
                "openhermes-2:gguf runs in Q4_K_M on the CPU",
                "no GPU was found, and 16-bit weights are slower on the CPU",
            ),
        ),
        (
            machine(ram=4, free=3),
            every_package,
            GGUF,
            ("no form of openhermes-2 can run on this machine",),
        ),
    ],
    ids=["24 GB", "8 GB", "only llama.cpp supports the GPU", "no GPU", "too little memory"],
)
def test_the_best_form_is_chosen_with_a_reason(
    hardware: Hardware, finder: Finder, name: str, reasons: tuple[str, ...]
) -> None:
    """The form that runs best with what is installed is chosen; the reason compares both."""
    choice = choose(hardware, finder)
    assert (choice.chosen.name, choice.reason) == (name, "; ".join(reasons))
    assert choice.chosen is choice.forms[0]
    assert choice.better is None


def test_a_gguf_with_some_layers_on_a_gpu_is_better_than_weights_on_the_cpu(tmp_path: Path) -> None:
    """If torch supports no GPU and llama.cpp does, the GGUF with some of its layers on it is chosen."""
    choice = choose(LLAMA_1060, cpu_torch(tmp_path))
    assert choice.reason == (
        "openhermes-2:gguf runs in Q4_K_M on cuda:0 (GTX 1060) with 28 of 33 layers; "
        "openhermes-2:16bit would run in bf16 on the CPU, because the installed torch has no CUDA support, "
        "which cuda:0 needs"
    )


def test_4_bit_weights_are_better_than_a_gguf_on_the_same_gpu() -> None:
    """If torch and llama.cpp both support the GPU, the weights in 4-bit are chosen."""
    choice = choose(LLAMA_3070)
    assert choice.chosen.name == WEIGHTS
    assert choice.reason.endswith(
        "openhermes-2:gguf would run in Q4_K_M on cuda:0 (RTX 3070) with 33 of 33 layers"
    )


def test_the_only_installed_form_is_chosen() -> None:
    """The only installed form is chosen, and the better one is known."""
    choice = choose(RTX_3090, is_installed=installed("gguf"))
    assert (choice.chosen.name, choice.reason) == (GGUF, "openhermes-2:gguf is the installed form")
    assert choice.better is not None
    assert choice.better.name == WEIGHTS
    best = choose(RTX_3090, is_installed=installed("16bit"))
    assert (best.chosen.name, best.better) == (WEIGHTS, None)


@pytest.mark.parametrize(("hardware", "name"), [(RTX_3070, WEIGHTS), (NO_GPU, GGUF)])
def test_the_faster_of_two_installed_forms_is_chosen(hardware: Hardware, name: str) -> None:
    """If both forms are installed, the one that is faster on this machine is chosen."""
    choice = choose(hardware, is_installed=installed("gguf", "16bit", "q8_0"))
    assert (choice.chosen.name, choice.better) == (name, None)
    assert [form.installed for form in choice.forms] == [True, True]


@pytest.mark.parametrize(
    ("plan_request", "flag"),
    [
        (PlanRequest(gpu_layers=10), "--gpu-layers"),
        (PlanRequest(kv="q8_0"), "--kv"),
    ],
)
def test_a_flag_for_llama_cpp_selects_the_gguf(plan_request: PlanRequest, flag: str) -> None:
    """--gpu-layers and --kv select the GGUF, even if the weights would run better."""
    hardware = with_llama(gpu("RTX 3090", 24, 23.6, (8, 6)))
    choice = choose(hardware, request=plan_request)
    assert choice.chosen.name == GGUF
    assert choice.reason.endswith(
        f"openhermes-2:16bit cannot run here: {flag} is for GGUF files, but openhermes-2:16bit is not one "
        f"(omit {flag})"
    )


def test_a_requested_precision_of_weights_selects_the_weights() -> None:
    """A precision that only the weights have selects them, even on the CPU."""
    assert choose(NO_GPU, request=PlanRequest(precision="8bit")).chosen.name == WEIGHTS


def test_the_error_for_a_form_that_is_not_installed_has_the_size_of_the_best() -> None:
    """The command downloads the best form; the size is that form's."""
    assert not_installed(choose(RTX_3090), "openhermes-2").hint == (
        "download it with 'hermes models pull openhermes-2' (about 14.48 GB)"
    )
    assert "(about 4.37 GB)" in not_installed(choose(NO_GPU), "openhermes-2").hint
