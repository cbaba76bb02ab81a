"""The models that are offered on a machine without a model."""

from importlib.machinery import ModuleSpec

import pytest

from hermes_cli.models.hardware import Hardware
from hermes_cli.models.offer import suggest_models
from hermes_cli.models.plan.request import PlanRequest
from tests.models.plan.machines import gpu, machine


def find_any(name: str) -> ModuleSpec:
    """Find every package."""
    return ModuleSpec(name, None)


def find_none(_name: str) -> None:
    """Find no package."""


@pytest.mark.parametrize(
    ("hardware", "names"),
    [
        (machine(ram=4, free=3), ["starter"]),
        (machine(ram=16, free=12), ["starter", "openhermes-2:gguf"]),
        (machine(ram=64, free=60), ["starter", "openhermes-2:gguf", "openhermes-2:16bit"]),
        (machine(gpu("RTX 3070", 8, 7.6, (8, 6))), ["starter", "openhermes-2:16bit", "openhermes-2:gguf"]),
        (machine(gpu("GTX 1650", 4, 3.8, (7, 5)), ram=16, free=12), ["starter", "openhermes-2:gguf"]),
    ],
)
def test_suitable_models_are_offered(hardware: Hardware, names: list[str]) -> None:
    """Only models that fit the machine are offered: after the starter, from the best form."""
    assert [offer.name for offer in suggest_models(hardware, PlanRequest(), find_any)] == names


def test_weights_are_not_offered_if_their_packages_are_missing() -> None:
    """Weights are not offered if their packages are missing."""
    hardware = machine(gpu("RTX 3090", 24, 23.6, (8, 6)))
    assert [offer.name for offer in suggest_models(hardware, PlanRequest(), find_none)] == [
        "starter",
        "openhermes-2:gguf",
    ]


def test_the_description_says_how_a_form_runs() -> None:
    """The description says how a form runs, and which one is the best."""
    hardware = machine(gpu("RTX 3090", 24, 23.6, (8, 6)))
    _, weights, gguf = suggest_models(hardware, PlanRequest(), find_any)
    assert weights.description.endswith("(bf16 on cuda:0, best here)")
    assert gguf.description.endswith("(Q4_K_M on cpu)")
