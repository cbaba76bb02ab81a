"""Fixtures of the tests that need a GPU; without one that torch can use, the tests are skipped."""

import pytest
import torch

from hermes_cli.models import hardware
from hermes_cli.models.local import describe_folder
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.request import PlanRequest
from tests.weights import tiny_mistral_folder


@pytest.fixture(scope="session", autouse=True)
def gpu() -> torch.device:
    """The first GPU."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return torch.device("cuda", 0)


def gpu_plan(precision: str) -> Plan:
    """Return hermes' own plan for the tiny Mistral on the first GPU, with a window of 1,024 tokens."""
    folder = tiny_mistral_folder()
    model = describe_folder(folder, folder.name)
    assert model is not None
    return choose(hardware.probe(), model.facts, PlanRequest(1024, None, precision, "cuda:0"))
