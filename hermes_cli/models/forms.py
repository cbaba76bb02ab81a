"""Chooses the form of a model with a short name: 16-bit weights or a GGUF, whichever runs better here."""

from collections.abc import Callable
from typing import Final, NamedTuple

from hermes_cli.errors import HermesError, ModelUnavailable
from hermes_cli.models import requirements
from hermes_cli.models.catalogue import CatalogueEntry, Variant, WeightFormat
from hermes_cli.models.download import size_text
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.request import PlanRequest

CANNOT_RUN: Final = 9


class Form(NamedTuple):
    """A variant of a model with its plan on this machine, or the `problem` that prevents it from running."""

    name: str
    variant: Variant
    facts: ModelFacts
    plan: Plan | None
    problem: HermesError | None = None
    installed: bool = False

    @property
    def rank(self) -> int:
        """The rank of the plan, from 0 (the best), or CANNOT_RUN without a plan."""
        return CANNOT_RUN if self.plan is None else self.plan.rank

    @property
    def how(self) -> str:
        """A clause about how the form runs, such as `runs in 4-bit nf4 on cuda:0`, or why it cannot run."""
        if self.plan is None:
            message = self.problem.message if self.problem else ""
            shortened = message.removeprefix(f"{self.name} ")
            return f"{shortened if shortened != message else f'cannot run here: {message}'}{self.hint}"
        return f"runs in {self.plan.precision} on {self.plan.where}"

    @property
    def hint(self) -> str:
        """The hint of `problem` in parentheses, with a space before it, or an empty string."""
        hint = self.problem.hint.partition(";")[0] if self.problem else ""
        return f" ({hint})" if hint else ""

    @property
    def size(self) -> str:
        """The size of the download, formatted for the user."""
        return size_text(self.variant.size)


class FormChoice(NamedTuple):
    """The chosen form, the reason as a clause, and all forms, best first."""

    chosen: Form
    reason: str
    forms: tuple[Form, ...]

    @property
    def better(self) -> Form | None:
        """The best form if it would run better than the chosen one, else None."""
        best = self.forms[0]
        return best if best.rank < self.chosen.rank else None


def choose_form(
    entry: CatalogueEntry,
    hardware: Hardware,
    request: PlanRequest | None = None,
    *,
    finder: requirements.Finder = requirements.find_package,
    is_installed: Callable[[Variant], bool] | None = None,
) -> FormChoice:
    """Return the best installed form, or the best of all forms if none is installed."""
    request = request and request.for_any_model  # the plan of the chosen form reports a missing template
    found = [
        _form(entry, v, hardware, request, finder, installed=is_installed is not None and is_installed(v))
        for v in entry.forms
    ]
    forms = tuple(sorted(found, key=lambda form: form.rank))
    installed = [form for form in forms if form.installed]
    chosen = (installed or forms)[0]
    if forms[0].rank == CANNOT_RUN:
        reason = f"no form of {entry.alias} can run on this machine"
    elif len(installed) == 1:
        reason = f"{chosen.name} is the installed form"
    else:
        others = (_passed_over(form, hardware) for form in forms if form is not chosen)
        reason = "; ".join([f"{chosen.name} {chosen.how}", *others])
    return FormChoice(chosen, reason, forms)


def _form(
    entry: CatalogueEntry,
    variant: Variant,
    hardware: Hardware,
    request: PlanRequest | None,
    finder: requirements.Finder,
    *,
    installed: bool,
) -> Form:
    facts, name = facts_of_variant(entry, variant), entry.spelling(variant)
    try:
        plan = requirements.plan_with_installed(hardware, facts, request, finder)
    except HermesError as error:
        return Form(name, variant, facts, None, error, installed)
    problem = requirements.unmet(plan, facts, finder)
    return Form(name, variant, facts, None if problem else plan, problem, installed)


def _passed_over(form: Form, hardware: Hardware) -> str:
    """Return a clause about a form that was not chosen."""
    if form.variant.format is WeightFormat.SAFETENSORS and not hardware.gpus:
        return "no GPU was found, and 16-bit weights are slower on the CPU"
    if form.plan is not None:
        why = f", because {form.plan.reason.partition(';')[0]}" if form.plan.device == "cpu" else ""
        return f"{form.name} would run in {form.plan.precision} on {form.plan.where}{why}"
    return f"{form.name} {form.how}"


def not_installed(choice: FormChoice, alias: str) -> ModelUnavailable:
    """Return the error for a model without an installed form. `alias` is its short name."""
    return ModelUnavailable(
        f"{alias} is not on this machine",
        f"download it with 'hermes models pull {alias}' (about {choice.chosen.size})",
    )
