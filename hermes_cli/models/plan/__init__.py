"""Plans how a model runs on this machine: the engine, precision, device and context size, with the reason.

Planning depends only on the hardware, the model and the request. It reads no files, queries no devices and
imports no engine.
"""

from hermes_cli.models.plan.memory import Candidate
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.refusal import DoesNotFit, Smaller
from hermes_cli.models.plan.request import PlanRequest

__all__ = ["Candidate", "DoesNotFit", "Plan", "PlanRequest", "Smaller", "choose"]
