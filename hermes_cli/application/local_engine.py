"""Loads a planned model, with a smaller plan if memory runs out, and quantizes models."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from hermes_cli.application.local_choice import default_notice
from hermes_cli.application.model import choose_model
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import require_local
from hermes_cli.engines.base import Engine
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.errors import ModelUnavailable, ResourcesExhausted, UsageError
from hermes_cli.models import hardware, requirements, selection
from hermes_cli.models.download import require_space, size_text
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.refusal import Smaller
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.units import gib
from hermes_cli.placement import difference
from hermes_cli.prompts.template_request import RAW
from hermes_cli.screen.progress import loading
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

Report = Callable[[int, int], None]
Notify = Callable[[str], None]


def load_planned(
    runtime: Runtime,
    choice: ModelChoice,
    plan: Plan,
    report: Report | None,
    notify: Notify,
    *,
    fallback: bool = False,
) -> Engine:
    """Load the model, and notify the user if it was not loaded as planned.

    If memory runs out, retry once with the smaller plan, provided that the plan puts layers of a GGUF on a
    GPU or `fallback` is set.
    """
    try:
        engine = _open(runtime, choice, plan, report)
    except ResourcesExhausted as error:
        smaller = plan.smaller
        if smaller is None or smaller.model or not (plan.gpu_layers or fallback):
            raise
        notify(f"{error.message}; loading it {smaller.what} instead")
        plan = use_smaller(choice, smaller)
        engine = _open(runtime, choice, plan, report)
    if problem := difference(plan.placement, engine.placement):
        notify(f"{sanitize_line(plan.model)}: {problem}")
    return engine


def use_smaller(choice: ModelChoice, smaller: Smaller) -> Plan:
    """Replace the plan of `choice` with a smaller plan for the same model, and return it."""
    choice.plan = selection.make_plan(choice.selected, hardware.probe(), smaller.request)
    return choice.plan


def _open(runtime: Runtime, choice: ModelChoice, plan: Plan, report: Report | None) -> Engine:
    model = choice.selected.model
    if model is None:
        raise ModelUnavailable(f"{choice.selected.name} is not on this machine")
    cache_dir = PromptCacheDir(runtime.paths.prefixes)
    if plan.engine == "transformers":
        requirements.check(plan, model.facts)
        title = f"{plan.model} ({gib(plan.weight_bytes)} GiB)"
        with nullcontext(report) if report else loading(runtime.terminal, title) as shown_report:
            from hermes_cli.engines.transformers.engine import TransformersEngine

            return TransformersEngine.open(
                plan,
                report=shown_report,
                cache_dir=cache_dir,
                cuda_graphs=runtime.settings.decode == "ahead",
                lookup=runtime.settings.speculate == "lookup",
            )
    from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
    from hermes_cli.engines.llama_cpp.settings import DEBUG, ERRORS, REPORTS_DEVICES, LlamaSettings

    if model.header is None:
        raise ModelUnavailable(f"{plan.path} has no GGUF header")
    verbosity = REPORTS_DEVICES if choice.can_use_gpu else DEBUG if runtime.debug else ERRORS
    return LlamaCppEngine(
        model.header,
        LlamaSettings.from_plan(
            plan,
            verbosity,
            lookup=runtime.settings.speculate == "lookup",
            keeps_copies=choice.is_for_group,
        ),
        name=plan.model,
        log=engine_log(runtime),
        cache_dir=cache_dir,
        prompt_format=plan.prompt_format,
    )


def engine_log(runtime: Runtime) -> Callable[[str], None] | None:
    """Return a function that prints a line of an engine's log if --debug was given, else None."""
    if not runtime.debug:
        return None
    return lambda line: runtime.terminal.plain(sanitize_line(line, LONG_LINE))


def quantize_model(runtime: Runtime, name: str, output: Path | None, device: str | None) -> str:
    """Quantize a model to NF4, save it, print its size and timings, and return its name for -m.

    Raises UsageError if the model has no 16-bit weights or the folder already exists, ModelUnavailable if it
    is on a server, and any error from loading the model.
    """
    require_local(runtime, name)
    request = PlanRequest(precision="4bit", device=device, chat_template=RAW)  # base models, too
    choice = choose_model(runtime, name, request)
    plan, model = choice.plan, choice.selected.model
    if plan is None or model is None or plan.quantization != "nf4":
        kind = plan.precision if plan else "a script"
        raise UsageError(f"{name} is {kind} and cannot be quantized", "name a model with 16-bit weights")
    requirements.check(plan, model.facts)
    folder = output or runtime.paths.models / f"{_file_name(plan.model)}-nf4"
    if folder.exists():
        raise UsageError(f"{folder} already exists", "remove it, or name another folder with -o")
    require_space(plan.weight_bytes, folder.parent)
    with default_notice(runtime), loading(runtime.terminal, plan.model) as report:
        from hermes_cli.engines.transformers import quantize

        before_s, now_s = quantize.quantize(plan, folder, report)
    size = sum(file.stat().st_size for file in folder.iterdir())
    saved_name = str(folder) if output else folder.name
    runtime.terminal.notice(
        f"{sanitize_line(saved_name)}: {size_text(size)} in 4-bit NF4; its weights load in {now_s:.1f} s; "
        f"loading with quantization took {before_s:.1f} s ({now_s / before_s:.2f}x)"
    )
    return saved_name


def _file_name(model: str) -> str:
    """Return a file name for a model: its name without the repository owner and the suffix `:16bit`."""
    return model.rpartition("/")[2].removesuffix(":16bit").replace(":", "-")
