"""The models to suggest if none is installed: the starter, and variants of OpenHermes 2 that can run here."""

from dataclasses import dataclass

from hermes_cli.errors import HermesError
from hermes_cli.models import requirements
from hermes_cli.models.catalogue import CATALOGUE, STARTER, WeightFormat
from hermes_cli.models.facts import facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import PlanRequest, choose

SUGGESTED_MODEL = "openhermes-2"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested model: the argument of -m, the approximate size in bytes, and a description."""

    name: str
    size: int
    description: str


def suggest_models(
    machine: Hardware, request: PlanRequest, finder: requirements.Finder = requirements.find_package
) -> list[Suggestion]:
    """Return the models to suggest. The starter is the first, because it runs on any machine.

    On a CPU the GGUF, the default, is faster than the 16-bit weights, which are suggested only for a GPU.
    """
    entry = CATALOGUE[SUGGESTED_MODEL]
    suggestions = [Suggestion(STARTER.alias, STARTER.default.size, STARTER.description)]
    for variant in entry.variants:
        if variant is not entry.default and variant.format is not WeightFormat.SAFETENSORS:
            continue
        facts = facts_of_variant(entry, variant)
        try:
            plan = choose(machine, facts, request)
        except HermesError:
            continue
        is_slow = plan.engine == "transformers" and plan.device == "cpu"
        if not is_slow and requirements.unmet(plan, facts, finder) is None:
            description = f"{entry.description} ({plan.precision} on {plan.device})"
            suggestions.append(Suggestion(entry.spelling(variant), variant.size, description))
    return suggestions
