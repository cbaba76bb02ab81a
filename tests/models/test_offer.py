"""The models that are offered on a machine without a model."""

from importlib.machinery import ModuleSpec

import pytest

from hermes_cli.models.hardware import Hardware
from hermes_cli.models.offer import suggest_models
from hermes_cli.models.plan import PlanRequest
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
        (machine(ram=16, free=12), ["starter", "openhermes-2"]),
        (machine(ram=64, free=60), ["starter", "openhermes-2"]),  # 16-bit weights are not offered for the CPU
        (machine(gpu("RTX 3070", 8, 7.6, (8, 6))), ["starter", "openhermes-2", "openhermes-2:16bit"]),
        (machine(gpu("GTX 1650", 4, 3.8, (7, 5)), ram=16, free=12), ["starter", "openhermes-2"]),
    ],
)
def test_suitable_models_are_offered(hardware: Hardware, names: list[str]) -> None:
    """Only models that fit the machine and run well on it are offered."""
    assert [offer.name for offer in suggest_models(hardware, PlanRequest(), find_any)] == names


def test_weights_are_not_offered_if_their_packages_are_missing() -> None:
    """Weights are not offered if their packages are missing."""
    hardware = machine(gpu("RTX 3090", 24, 23.6, (8, 6)))
    assert [offer.name for offer in suggest_models(hardware, PlanRequest(), find_none)] == [
        "starter",
        "openhermes-2",
    ]
    weights = suggest_models(hardware, PlanRequest(), find_any)[-1]
    assert weights.description.endswith("(bf16 on cuda:0)")
