"""Plans how a model runs on this machine: the engine, precision, device and context size, with the reason.

Planning is a pure function of the hardware, the model and the request: it reads no file, queries no device
and imports no engine.
"""

from hermes_cli.models.plan.memory import Candidate
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.refusal import DoesNotFit, Smaller
from hermes_cli.models.plan.request import PlanRequest

__all__ = ["Candidate", "DoesNotFit", "Plan", "PlanRequest", "Smaller", "choose"]
