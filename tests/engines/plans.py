"""Plans for tests: a machine with one core (the fastest setting for a tiny model), 16 GiB and no GPU."""

from pathlib import Path

from hermes_cli.models.hardware import Hardware
from hermes_cli.models.local import describe_folder
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.units import GIB

MACHINE = Hardware(1, 1, 16 * GIB, 12 * GIB)


def plan_for(folder: Path, precision: str = "auto", context_size: int = 1024) -> Plan:
    """Return the plan for a folder of weights."""
    model = describe_folder(folder, folder.name)
    assert model is not None
    assert model.broken is None
    plan_request = PlanRequest(context_size=context_size, precision=precision, device="cpu")
    return choose(MACHINE, model.facts, plan_request)
