"""Chooses and plans a model on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from hermes_cli.application.model import scripted
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models import gpu_advice, hardware, requirements, selection
from hermes_cli.models.catalogue import CATALOGUE, STARTER
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.forms import Form, choose_form
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.reference import parse, variant_ref
from hermes_cli.models.selected_model import SelectedModel
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line


def choose(runtime: Runtime, name: str | None, request: PlanRequest) -> ModelChoice:
    """Return the model to open; see `choose_model`."""
    machine = hardware.probe()
    choice = _planned(select_model(runtime, name, machine, request), machine, request)
    if choice.plan is not None and choice.selected.model is not None and runtime.terminal.stderr_is_tty:
        advice = gpu_advice.advise(machine, choice.plan, choice.selected.model.facts, request)
        if advice:
            runtime.terminal.notice(sanitize_line(str(advice), LONG_LINE))
    return choice


def _planned(selected: SelectedModel, machine: Hardware, request: PlanRequest) -> ModelChoice:
    plan = selection.make_plan(selected, machine, request)
    return ModelChoice(selected, plan, can_use_gpu=bool(machine.llama.backend))


def planned_again(choice: ModelChoice, request: PlanRequest) -> ModelChoice:
    """Return the same model with a plan for another request. Raises ResourcesExhausted if it does not fit."""
    return replace(choice, plan=selection.make_plan(choice.selected, hardware.probe(), request))


def known(runtime: Runtime, request: PlanRequest) -> ModelChoice | None:
    """Return the default model, or None if it would have to be downloaded first."""
    machine = hardware.probe()
    selected = _resolve(runtime, None, machine, request)
    if selected is None or selected.model is None:
        return None
    return _planned(selected, machine, request)


class PlanReport(NamedTuple):
    """The plan of a model, or the error that planning raised.

    For a short name with several forms, `forms` lists them and `why` is the reason for the chosen one.
    """

    facts: ModelFacts
    is_installed: bool
    result: Plan | HermesError
    forms: tuple[Form, ...] = ()
    why: str = ""
    advice: gpu_advice.Advice | None = None


def plan_of(runtime: Runtime, name: str | None, request: PlanRequest) -> PlanReport:
    """Return the plan of a model; without a name, of the default model.

    Nothing is downloaded: for a short name, the facts come from the catalogue. Raises ModelUnavailable if
    there is no such model, and UsageError for an invalid name.
    """
    machine = hardware.probe()
    name = name or runtime.settings.model
    if name is None:
        default = _resolve(runtime, None, machine, request)
        name = default.name if default else STARTER.alias
    ref = parse(name, models_dir=runtime.paths.models)
    forms: tuple[Form, ...] = ()
    why = ""
    if ref.entry is not None and ref.variant is None:
        choice = selection.form_of(ref.entry, runtime.paths.models, machine, request)
        ref, forms, why = variant_ref(choice.chosen.variant), choice.forms, choice.reason
    facts, is_installed = selection.plan_facts(ref, runtime.paths.models)
    try:
        plan = requirements.plan_with_installed(machine, facts, request)
        plan.prompt_format.check()
    except HermesError as error:
        return PlanReport(facts, is_installed, error, forms, why)
    advice = gpu_advice.advise(machine, plan, facts, request)
    return PlanReport(facts, is_installed, plan, forms, why, advice)


@contextmanager
def default_notice(runtime: Runtime) -> Iterator[None]:
    """Print a notice if the default model is another one after the block, which adds a model."""
    before = _default(runtime)
    yield
    after = _default(runtime)
    if before is not None and after is not None and after.name != before.name:
        runtime.terminal.notice(
            sanitize_line(
                f"the default model was {before.name} and is now {after.name}, because {after.reason}; "
                "to choose another, set 'model' in the file that 'hermes config path' prints",
                LONG_LINE,
            )
        )


def _default(runtime: Runtime) -> SelectedModel | None:
    """Return the model that is used without -m, or None if there is none or it cannot be used."""
    try:
        return None if scripted(runtime, None) else _resolve(runtime, None, hardware.probe(), PlanRequest())
    except HermesError:
        return None


def best_forms() -> frozenset[str]:
    """Return the forms that short names would select on this machine if none were installed."""
    machine = hardware.probe()
    choices = (choose_form(entry, machine) for entry in CATALOGUE.values() if len(entry.forms) > 1)
    return frozenset(choice.chosen.name for choice in choices)


def _resolve(
    runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest
) -> SelectedModel | None:
    configured = runtime.settings.model
    try:
        return selection.resolve(
            name,
            models_dir=runtime.paths.models,
            hardware=machine,
            configured=configured,
            request=request,
        )
    except (ModelUnavailable, UsageError) as error:
        if name or not configured:
            raise
        source = f"the model is set in the {runtime.settings.source('model')}"
        raise type(error)(error.message, "; ".join(filter(None, (source, error.hint)))) from None


def select_model(
    runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest
) -> SelectedModel:
    """Return the named or the default model. If no model is installed, download one."""
    selected = _resolve(runtime, name, machine, request)
    if selected is None or selected.model is None:
        from hermes_cli.engines.llama_cpp.server import import_library

        import_library()  # a system that cannot run the starter must fail before the download
    if selected is None:
        from hermes_cli.application.model_download import offer_models

        selected = _resolve(runtime, offer_models(runtime, machine, request), machine, request)
    if selected is not None and selected.model is None:
        from hermes_cli.application.model_download import fetch_starter

        fetch_starter(runtime)
        selected = _resolve(runtime, name, machine, request)
    if selected is None or selected.model is None:
        raise ModelUnavailable(
            "there is no model on this machine", "'hermes models pull starter' downloads a small one"
        )
    return selected
