"""Selects the model to chat with: the requested one, or the best one on this machine.

This module downloads nothing. Callers may download the starter without confirmation, but no other model.
"""

from collections.abc import Iterator
from pathlib import Path

from hermes_cli.errors import HermesError, ModelUnavailable, ResourcesExhausted, UsageError
from hermes_cli.models import local, requirements, starter
from hermes_cli.models.catalogue import STARTER, CatalogueEntry, Variant
from hermes_cli.models.download import size_text
from hermes_cli.models.facts import ModelFacts, facts_of_variant
from hermes_cli.models.forms import FormChoice, choose_form, not_installed
from hermes_cli.models.gguf.model import FETCH_AGAIN
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.local import InstalledModel, ModelSource
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.reference import ModelRef, parse, variant_ref
from hermes_cli.models.selected_model import SelectedModel


def resolve(
    text: str | None,
    *,
    models_dir: Path,
    hardware: Hardware,
    configured: str | None = None,
    cache_dir: Path | None = None,
    request: PlanRequest | None = None,
    finder: requirements.Finder = requirements.find_package,
) -> SelectedModel | None:
    """Return the model that `text` names, or else the `configured` one, or else the best one installed.

    `finder` looks up Python packages. A model whose packages are missing is never the best one. Return None
    if no model is named and no usable one is installed.

    Raises ModelUnavailable if the named model is broken or not installed, with the command that helps, and
    UsageError if the name is invalid.
    """
    if text or configured:
        reason = "it was requested" if text else "it is the configured model"
        ref = parse(text or configured or "", models_dir=models_dir)
        if ref.entry is not None and ref.variant is None:
            choice = form_of(ref.entry, models_dir, hardware, request, cache_dir=cache_dir, finder=finder)
            if not choice.chosen.installed:
                raise not_installed(choice, ref.name)
            ref = variant_ref(choice.chosen.variant)
            reason = f"{reason}; {choice.reason}{_better_form_clause(choice)}"
        return _named(ref, reason, models_dir, cache_dir)
    models = local.installed(models_dir, cache_dir=cache_dir)
    return _best(_plans(models, hardware, request, finder))


def make_plan(selected: SelectedModel, hardware: Hardware, request: PlanRequest | None = None) -> Plan:
    """Return the plan of a selected model.

    Raises the errors of `choose`, ModelUnavailable if the model is missing or its chat template cannot be
    used, and ConfigError if another template cannot be used.
    """
    if selected.model is None:
        raise ModelUnavailable(f"{selected.name} is not on this machine yet", _pull(selected.name))
    plan = requirements.plan_with_installed(hardware, selected.model.facts, request)
    plan.prompt_format.check()
    return plan


def form_of(
    entry: CatalogueEntry,
    models_dir: Path,
    hardware: Hardware,
    request: PlanRequest | None,
    *,
    cache_dir: Path | None = None,
    finder: requirements.Finder = requirements.find_package,
) -> FormChoice:
    """Return the form that the short name of `entry` selects on this machine."""

    def is_installed(variant: Variant) -> bool:
        return find(variant_ref(variant), models_dir, cache_dir=cache_dir) is not None

    return choose_form(entry, hardware, request, finder=finder, is_installed=is_installed)


def _better_form_clause(choice: FormChoice) -> str:
    """Return a clause about a better form that is not installed, or an empty string."""
    better = choice.better
    if better is None:
        return ""
    return f"; {better.name} would be better: it {better.how} ({_pull_command(better.name)}, {better.size})"


def _named(ref: ModelRef, reason: str, models_dir: Path, cache_dir: Path | None) -> SelectedModel:
    model = find(ref, models_dir, cache_dir=cache_dir)
    if model is None:
        if ref.is_starter:
            return SelectedModel(ref.name, reason)
        raise _not_installed(ref)
    if model.broken and model.source is ModelSource.STARTER:
        return SelectedModel(
            model.name, f"{reason}; the installed copy is damaged and will be downloaded again"
        )
    if model.broken:
        raise ModelUnavailable(f"{model.name} cannot be used: {model.broken}", _repair(model))
    return SelectedModel(model.name, reason, model)


def installed_model(name: str, models_dir: Path) -> InstalledModel:
    """Return the installed model called `name`; see `installed_for` for the errors."""
    return installed_for(parse(name, models_dir=models_dir), models_dir)


def installed_for(ref: ModelRef, models_dir: Path) -> InstalledModel:
    """Return the installed model for a reference, even if it is broken.

    Raises ModelUnavailable if it is not installed, and UsageError if it is a short name with several
    installed forms.
    """
    if ref.entry is not None and ref.variant is None:
        forms = [variant_ref(variant) for variant in ref.entry.forms]
        installed = [form for form in forms if find(form, models_dir) is not None]
        if len(installed) > 1:
            names = " and ".join(form.name for form in installed)
            raise UsageError(f"{names} are both installed", "name one of them")
        ref = installed[0] if installed else ref
    model = find(ref, models_dir)
    if model is None:
        raise _not_installed(ref)
    return model


def plan_facts(ref: ModelRef, models_dir: Path) -> tuple[ModelFacts, bool]:
    """Return the facts that a plan needs, and whether the model is installed.

    The facts of a model that is not installed come from the catalogue. Raises ModelUnavailable if the model
    is broken, or neither installed nor in the catalogue.
    """
    model = find(ref, models_dir)
    if model is not None:
        return model.facts, True
    if ref.entry is None or ref.variant is None:
        raise _not_installed(ref)
    return facts_of_variant(ref.entry, ref.variant), False


def find(ref: ModelRef, models_dir: Path, *, cache_dir: Path | None = None) -> InstalledModel | None:
    """Return the installed model for a reference, even if it is broken, or None if it is not installed."""
    starter_path = starter.path_in(models_dir)
    if (ref.is_starter and starter_path.exists()) or ref.path == starter_path:
        return local.describe_file(starter_path, STARTER.alias, ModelSource.STARTER)
    if ref.path is not None:
        return _at_path(ref.path, ref.name, models_dir)
    path = local.find_in_cache(ref.repo, ref.file, cache_dir=cache_dir) if ref.repo else None
    if path is not None and path.is_dir():
        return local.describe_folder(path, ref.name, ModelSource.HUB, ref.repo)
    return None if path is None else local.describe_file(path, ref.name, ModelSource.HUB, ref.repo)


def _at_path(path: Path, name: str, models_dir: Path) -> InstalledModel:
    source = ModelSource.FOLDER if path.parent == models_dir else ModelSource.PATH
    return _folder(path, name, source) if path.is_dir() else local.describe_file(path, name, source)


def _folder(path: Path, name: str, source: ModelSource) -> InstalledModel:
    model = local.describe_folder(path, name, source)
    if model is not None:
        return model
    ggufs = sorted(p for p in path.iterdir() if p.suffix.lower() == ".gguf")
    if len(ggufs) == 1:
        return local.describe_file(ggufs[0], ggufs[0].stem)
    if ggufs:
        raise ModelUnavailable(
            f"{path} contains {len(ggufs)} GGUF files", f"give one of them, such as {ggufs[0]}"
        )
    raise ModelUnavailable(
        f"{path} contains no model: neither a .gguf file nor a config.json",
        "'hermes models list' lists the installed models",
    )


def _not_installed(ref: ModelRef) -> ModelUnavailable:
    size = f" (about {size_text(ref.variant.size)})" if ref.variant else ""
    return ModelUnavailable(f"{ref.name} is not on this machine", f"{_pull(ref.name)}{size}")


def _pull(name: str) -> str:
    return f"download it with {_pull_command(name)}"


def _pull_command(name: str) -> str:
    return f"'hermes models pull {name}'"


def _repair(model: InstalledModel) -> str:
    """Return the advice for a broken model. Downloading it again helps only if the file is damaged."""
    is_damaged = model.advice in ("", FETCH_AGAIN)
    if is_damaged and model.source is ModelSource.HUB:
        return f"delete it with 'hermes models rm {model.name}', then {_pull(model.name)}"
    return model.advice or "replace the file with a complete one"


def _plans(
    models: list[InstalledModel],
    hardware: Hardware,
    request: PlanRequest | None,
    finder: requirements.Finder,
) -> Iterator[tuple[InstalledModel, Plan | ResourcesExhausted]]:
    """Yield each model that can chat and run here with its plan, or with the error if it is too large."""
    request = request and request.for_any_model
    for model in models:
        if model.broken:
            continue
        try:
            facts = model.facts
            plan = requirements.plan_with_installed(hardware, facts, request, finder)
            if requirements.unmet(plan, facts, finder) is None:
                yield model, plan
        except ResourcesExhausted as error:
            yield model, error
        except HermesError:
            continue


def _best(plans: Iterator[tuple[InstalledModel, Plan | ResourcesExhausted]]) -> SelectedModel | None:
    """Return the most preferred model that fits. The reason lists preferred models that are too large."""
    sorted_plans = sorted(plans, key=lambda pair: _preference(*pair))
    too_large: list[str] = []
    for model, plan in sorted_plans:
        if isinstance(plan, Plan) and _has_valid_template(plan):
            models = [other for other, _ in sorted_plans]
            return SelectedModel(model.name, _reason(model, models, too_large), model)
        if not isinstance(plan, Plan):
            too_large.append(model.name)
    return None


def _has_valid_template(plan: Plan) -> bool:
    try:
        plan.prompt_format.check()
    except HermesError:
        return False
    return True


def _preference(model: InstalledModel, plan: Plan | ResourcesExhausted) -> tuple[int, float, int, int, str]:
    """Return a sort key: OpenHermes first, then ChatML models, and the starter last.

    Among these, larger models come first, then better formats. Parameter counts
    are rounded to two digits, because they differ slightly between the formats of a model.
    """
    rank = 1 if model.is_chatml else 2
    if model.source is ModelSource.STARTER:
        rank = 3
    elif is_openhermes(model):
        rank = 0
    return rank, -float(f"{model.parameters:.1e}"), _format_rank(plan), -model.size, model.name


def _format_rank(plan: Plan | ResourcesExhausted) -> int:
    """Return the rank of a plan, or -1 for a model that is too large.

    Such a model comes before smaller ones, so that the reason can name it.
    """
    return plan.rank if isinstance(plan, Plan) else -1


def is_openhermes(model: InstalledModel) -> bool:
    """Return whether a model is an OpenHermes, according to its name, file name or header."""
    title = model.header.name if model.header else ""
    return any("openhermes" in text.lower().replace(" ", "") for text in (model.name, model.path.name, title))


def _reason(model: InstalledModel, models: list[InstalledModel], too_large: list[str]) -> str:
    """Return why `model` is the most preferred of the models that can run here."""
    others = f"; {', '.join(too_large)} would need more memory than is free" if too_large else ""
    if len(models) == 1:
        return f"it is the only installed chat model{others}"
    if is_openhermes(model):
        return f"OpenHermes is preferred among the {len(models)} installed chat models{others}"
    if model.source is ModelSource.STARTER:
        return f"it is the only one that fits of the {len(models)} installed chat models{others}"
    has_starter = any(other.source is ModelSource.STARTER for other in models)
    if has_starter and len(models) == 2:  # noqa: PLR2004 - this one and the starter
        return "any other chat model is preferred to the starter"
    group = [m for m in models if m.is_chatml == model.is_chatml and m.source is not ModelSource.STARTER]
    plural = "ChatML models" if model.is_chatml else "models with another chat template"
    besides = " besides the starter" if has_starter else ""
    if len(group) == 1:
        single = plural.replace("models", "model")
        return f"it is the only installed {single}{besides}{others}"
    superlative = "the largest" if not too_large else "the largest that fits"
    return f"it is {superlative} of the {len(group)} installed {plural}{besides}{others}"
