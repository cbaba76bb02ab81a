"""The models to suggest on a machine without one: the starter, and OpenHermes 2 in variants that run well."""

from dataclasses import dataclass

from hermes_cli.errors import HermesError
from hermes_cli.models import requirements
from hermes_cli.models.catalogue import CATALOGUE, STARTER, WeightFormat
from hermes_cli.models.facts import facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import PlanRequest, choose

SUGGESTED = "openhermes-2"


@dataclass(frozen=True, slots=True)
class Offer:
    """A suggested model: the argument of -m, the approximate size in bytes, and a description."""

    name: str
    size: int
    description: str


def offers(
    machine: Hardware, request: PlanRequest, finder: requirements.Finder = requirements.find_package
) -> list[Offer]:
    """Return the models to suggest. The first is the starter, which runs everywhere.

    The GGUF is faster on the CPU than the 16-bit weights, so those are suggested only for a GPU.
    """
    entry = CATALOGUE[SUGGESTED]
    found = [Offer(STARTER.alias, STARTER.default.size, STARTER.description)]
    for variant in entry.variants:
        if variant is not entry.default and variant.format is not WeightFormat.SAFETENSORS:
            continue
        facts = facts_of_variant(entry, variant)
        try:
            plan = choose(machine, facts, request)
        except HermesError:
            continue
        on_cpu = plan.engine == "transformers" and plan.device == "cpu"
        if not on_cpu and requirements.unmet(plan, facts, finder) is None:
            description = f"{entry.description} ({plan.precision} on {plan.device})"
            found.append(Offer(entry.spelling(variant), variant.size, description))
    return found
