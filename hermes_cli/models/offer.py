"""Suggests models to a user who has none: the starter, and the forms of OpenHermes 2 that can run here."""

from typing import NamedTuple

from hermes_cli.models import requirements
from hermes_cli.models.catalogue import CATALOGUE, STARTER
from hermes_cli.models.forms import choose_form
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.request import PlanRequest

SUGGESTED_MODEL = "openhermes-2"


class Suggestion(NamedTuple):
    """A suggested model: its argument for -m, its approximate size in bytes, and a description."""

    name: str
    size: int
    description: str


def suggest_models(
    machine: Hardware, request: PlanRequest, finder: requirements.Finder = requirements.find_package
) -> list[Suggestion]:
    """Return the starter, which runs on any machine, and then the forms of SUGGESTED_MODEL.

    The forms are sorted from best to worst. Forms that cannot run here are left out.
    """
    entry = CATALOGUE[SUGGESTED_MODEL]
    suggestions = [Suggestion(STARTER.alias, STARTER.gguf.size, STARTER.description)]
    choice = choose_form(entry, machine, request, finder=finder)
    for form in choice.forms:
        if form.plan is not None:
            best = ", best here" if form is choice.chosen else ""
            how = f"{form.plan.precision} on {form.plan.device}{best}"
            suggestions.append(Suggestion(form.name, form.variant.size, f"{entry.description} ({how})"))
    return suggestions
