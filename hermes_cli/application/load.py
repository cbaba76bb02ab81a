"""Loads a planned model, at once or on a thread, and with a smaller plan if memory runs out."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from hermes_cli.application.model import ModelChoice, choose_model, default_notice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import open_server, require_local
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Engine
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.errors import ModelUnavailable, ResourcesExhausted, UsageError
from hermes_cli.models import hardware, requirements
from hermes_cli.models.download import require_space, size_text
from hermes_cli.models.plan import Plan, PlanRequest, Smaller
from hermes_cli.models.units import gib
from hermes_cli.placement import difference
from hermes_cli.prompts.format_choice import RAW
from hermes_cli.screen.progress import loading
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

Report = Callable[[int, int], None]
Notify = Callable[[str], None]


def open_later(runtime: Runtime, choice: ModelChoice, *, fallback: bool = False) -> BackgroundEngine:
    """Return an engine that loads the model on a thread. The caller starts it and prints its notices."""
    plan = choice.plan

    def opener(report: Report, notify: Notify) -> Engine:
        return _load(runtime, choice, report, notify, fallback=fallback)

    return BackgroundEngine(
        opener,
        name=plan.model if plan else choice.selection.name,
        context_size=plan.context_size if plan else 0,
    )


def open_engine(runtime: Runtime, choice: ModelChoice, *, fallback: bool = False) -> Engine:
    """Load the model, and show a progress bar.

    If memory runs out, ask at a terminal whether to use a smaller plan; with `fallback`, use it without
    asking.
    """
    terminal = runtime.terminal
    notify = terminal.notice
    try:
        return _load(runtime, choice, None, notify, fallback=fallback)
    except ResourcesExhausted as error:
        smaller = choice.plan.smaller if choice.plan else None
        if smaller is None or smaller.model or not (terminal.stdin_is_tty and terminal.stderr_is_tty):
            raise
        terminal.error(error.message)
        if not wants_smaller(runtime, smaller):
            raise
        use_smaller(choice, smaller)
    return _load(runtime, choice, None, notify)


def wants_smaller(runtime: Runtime, smaller: Smaller) -> bool:
    """Ask whether to load the model with the smaller plan."""
    answer = runtime.terminal.ask(f"Load it {smaller.what} instead? [Y/n] ").strip().lower()
    return answer in ("", "y", "yes")


def use_smaller(choice: ModelChoice, smaller: Smaller) -> None:
    """Replace the plan of `choice` with a smaller plan for the same model."""
    choice.plan = choice.selection.plan(hardware.probe(), smaller.request)


def _load(
    runtime: Runtime,
    choice: ModelChoice,
    report: Report | None,
    notify: Notify,
    *,
    fallback: bool = False,
) -> Engine:
    """Load the model, and notify the user if it was not loaded as planned.

    If memory runs out, retry once with the smaller plan, provided that the plan puts layers of a GGUF on a
    GPU or `fallback` is set.
    """
    if choice.server is not None:
        choice.connection = open_server(runtime, choice.server, choice.context_size, notify)
        return choice.connection
    if choice.plan is None or choice.selection.model is None:
        from hermes_cli.engines.scripted import load_script

        return load_script(choice.script or Path())
    try:
        engine = _open(runtime, choice, choice.plan, report)
    except ResourcesExhausted as error:
        smaller = choice.plan.smaller
        if smaller is None or smaller.model or not (choice.plan.gpu_layers or fallback):
            raise
        notify(f"{error.message}; loading it {smaller.what} instead")
        use_smaller(choice, smaller)
        engine = _open(runtime, choice, choice.plan, report)
    if problem := difference(choice.plan.placement, engine.placement):
        notify(f"{sanitize_line(choice.plan.model)}: {problem}")
    return engine


def _open(runtime: Runtime, choice: ModelChoice, plan: Plan, report: Report | None) -> Engine:
    model = choice.selection.model
    if model is None:
        raise ModelUnavailable(f"{choice.selection.name} is not on this machine")
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
    plan, model = choice.plan, choice.selection.model
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
