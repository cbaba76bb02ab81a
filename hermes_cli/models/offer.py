"""What a machine without a model is offered: the starter, and OpenHermes 2 as it would run well here.

It knows the order and the reasons. It asks nobody and fetches nothing.
"""

from dataclasses import dataclass

from hermes_cli.errors import HermesError
from hermes_cli.models import requirements
from hermes_cli.models.catalogue import CATALOGUE, STARTER, Entry, Format, Variant
from hermes_cli.models.facts import facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import Wishes, choose

REAL = "openhermes-2"


@dataclass(frozen=True, slots=True)
class Offer:
    """A model to begin with: what to type after -m, about how many bytes, and what it would be."""

    name: str
    size: int
    what: str


def offers(
    machine: Hardware, wishes: Wishes, finder: requirements.Finder = requirements.find_package
) -> list[Offer]:
    """Return the models to choose from. The first is the starter, which runs everywhere."""
    real = CATALOGUE[REAL]
    found = [Offer(STARTER.alias, STARTER.default.size, STARTER.description)]
    for variant in real.variants:
        if variant is real.default or variant.format is Format.SAFETENSORS:
            how = _how(machine, real, variant, wishes, finder)
            if how:
                found.append(Offer(real.spelling(variant), variant.size, f"{real.description} ({how})"))
    return found


def _how(
    machine: Hardware, entry: Entry, variant: Variant, wishes: Wishes, finder: requirements.Finder
) -> str:
    """Return how a variant would run here; nothing where it would not, or a GGUF would do better."""
    facts = facts_of_variant(entry, variant)
    try:
        plan = choose(machine, facts, wishes)
    except HermesError:
        return ""
    on_cpu = plan.devices == ("cpu",)
    if plan.engine == "transformers" and (on_cpu or requirements.unmet(plan, facts, finder)):
        return ""
    return f"{plan.precision} on {plan.device}"
