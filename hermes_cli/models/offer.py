"""The models to suggest on a machine without one: the starter, and OpenHermes 2 in variants that run well."""

from dataclasses import dataclass

from hermes_cli.errors import HermesError
from hermes_cli.models import requirements
from hermes_cli.models.catalogue import CATALOGUE, STARTER, CatalogueEntry, Variant, WeightFormat
from hermes_cli.models.facts import facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import PlanRequest, choose

REAL = "openhermes-2"


@dataclass(frozen=True, slots=True)
class Offer:
    """A suggested model: the argument of -m, the approximate size in bytes, and a description."""

    name: str
    size: int
    what: str


def offers(
    machine: Hardware, request: PlanRequest, finder: requirements.Finder = requirements.find_package
) -> list[Offer]:
    """Return the models to suggest. The first is the starter, which runs everywhere."""
    real = CATALOGUE[REAL]
    found = [Offer(STARTER.alias, STARTER.default.size, STARTER.description)]
    for variant in real.variants:
        if variant is real.default or variant.format is WeightFormat.SAFETENSORS:
            how = _how(machine, real, variant, request, finder)
            if how:
                found.append(Offer(real.spelling(variant), variant.size, f"{real.description} ({how})"))
    return found


def _how(
    machine: Hardware,
    entry: CatalogueEntry,
    variant: Variant,
    request: PlanRequest,
    finder: requirements.Finder,
) -> str:
    """Return the precision and device of a variant, or "" if it cannot run or a GGUF would be faster."""
    facts = facts_of_variant(entry, variant)
    try:
        plan = choose(machine, facts, request)
    except HermesError:
        return ""
    on_cpu = plan.devices == ("cpu",)
    if plan.engine == "transformers" and (on_cpu or requirements.unmet(plan, facts, finder)):
        return ""
    return f"{plan.precision} on {plan.device}"
