"""Plans how a model runs on this machine: the engine, precision, device and context size, with the reason.

`choose` is a pure function: it reads no file, queries no device and imports no engine. `values.py` has its
arguments and results, `gguf.py` the plan for a GGUF, and `checkpoint.py` the one for Hugging Face weights.
"""

from hermes_cli.models.catalogue import WeightFormat
from hermes_cli.models.facts import ModelFacts, facts_of
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.checkpoint import choose_checkpoint
from hermes_cli.models.plan.gguf import choose_gguf
from hermes_cli.models.plan.plan import CandidateSizes, DoesNotFit, Plan, PlanRequest

__all__ = ["CandidateSizes", "DoesNotFit", "ModelFacts", "Plan", "PlanRequest", "choose", "facts_of"]


def choose(hardware: Hardware, model: ModelFacts, request: PlanRequest | None = None) -> Plan:
    """Return the plan for `model` on `hardware`.

    Raises UsageError if a request in `request` is impossible on this machine, and DoesNotFit, with all
    candidates, if the free memory is too small for the request, or for the model in any form.
    """
    how = choose_gguf if model.format is WeightFormat.GGUF else choose_checkpoint
    return how(hardware, model, request or PlanRequest())
