"""The plan: which engine, precision, device and context a model gets on this machine, and why.

`choose` is a pure function from facts to a Plan: it reads no file, asks no device and imports no engine. What
goes in and comes out is in `values.py`; a GGUF is planned in `gguf.py`, Hugging Face weights in
`checkpoint.py`.
"""

from hermes_cli.models.catalogue import Format
from hermes_cli.models.facts import ModelFacts, facts_of
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.checkpoint import choose_checkpoint
from hermes_cli.models.plan.gguf import choose_gguf
from hermes_cli.models.plan.values import Candidate, DoesNotFit, Plan, Wishes

__all__ = ["Candidate", "DoesNotFit", "ModelFacts", "Plan", "Wishes", "choose", "facts_of"]


def choose(hardware: Hardware, model: ModelFacts, wishes: Wishes | None = None) -> Plan:
    """Return the plan for `model` on `hardware`.

    Raises UsageError for a wish that can mean nothing here, and DoesNotFit, with all that was weighed, where
    the memory that is free does not hold what was wished for, or nothing at all of the model.
    """
    how = choose_gguf if model.format is Format.GGUF else choose_checkpoint
    return how(hardware, model, wishes or Wishes())
