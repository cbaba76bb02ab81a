"""Models by name: select, download, plan, load and quantize them."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from hermes_cli.application.runtime import Runtime
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Engine
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.engines.scripted import PREFIX as SCRIPTED
from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models import hardware, offer, requirements, selection, starter
from hermes_cli.models.catalogue import STARTER
from hermes_cli.models.download import require_space, size_text
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.hub import repository
from hermes_cli.models.plan import Plan, PlanRequest, choose
from hermes_cli.models.reference import parse
from hermes_cli.models.selection import Selection, plan_facts
from hermes_cli.screen.columns import columns
from hermes_cli.screen.progress import loading, progress
from hermes_cli.screen.sanitize import sanitize_line

HUB_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model to open: with `plan` for a real model, with `script` for the scripted engine."""

    selection: Selection
    plan: Plan | None = None
    script: Path | None = None

    @property
    def summary(self) -> str:
        """The model and its plan in one line."""
        return self.plan.summary if self.plan else f"scripted · {self.script}"

    @property
    def reason(self) -> str:
        """The reason for the model and for its plan."""
        return f"{self.selection.reason}; {self.plan.reason}" if self.plan else self.selection.reason


def choose_model(runtime: Runtime, name: str | None, request: PlanRequest) -> ModelChoice:
    """Return the model to open. If none is installed, download one, which the user may choose.

    Raises ModelUnavailable, ResourcesExhausted or UsageError, each with a hint.
    """
    if script := scripted(runtime, name):
        return script
    machine = hardware.probe()
    selection = select_model(runtime, name, machine, request)
    return ModelChoice(selection, selection.plan(machine, request))


def known_choice(runtime: Runtime, request: PlanRequest) -> ModelChoice | None:
    """Return the default model, or None if it would have to be downloaded first."""
    if script := scripted(runtime, None):
        return script
    machine = hardware.probe()
    selection = _resolve(runtime, None, machine, request)
    if selection is None or selection.needs_fetch:
        return None
    return ModelChoice(selection, selection.plan(machine, request))


def plan_of(
    runtime: Runtime, name: str | None, request: PlanRequest
) -> tuple[ModelFacts, bool, Plan | HermesError]:
    """Return a model's facts, whether it is downloaded, and its plan or the error of planning.

    Without a name, use the default model. Nothing is downloaded: the facts of short names come from the
    catalogue. Raises as `choose_model` does if there is no such model.
    """
    machine = hardware.probe()
    name = name or runtime.settings.model
    if name is None:
        selection = _resolve(runtime, None, machine, request)
        name = selection.name if selection else STARTER.alias
    facts, fetched = plan_facts(name, runtime.paths.models)
    try:
        return facts, fetched, choose(machine, facts, request)
    except HermesError as error:
        return facts, fetched, error


def scripted(runtime: Runtime, name: str | None) -> ModelChoice | None:
    """Return the scripted engine, if the name or the settings request it."""
    named = name or runtime.settings.model
    if not named or not named.startswith(SCRIPTED):
        return None
    path = Path(named.removeprefix(SCRIPTED))
    return ModelChoice(Selection("scripted", "a script was requested"), script=path)


def _resolve(runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest) -> Selection | None:
    return selection.resolve(
        name,
        models_dir=runtime.paths.models,
        hardware=machine,
        configured=runtime.settings.model,
        request=request,
    )


def select_model(runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest) -> Selection:
    """Return the selection for a name or the default. Offer to download a model if there is none."""
    selection = _resolve(runtime, name, machine, request)
    if selection is None or selection.needs_fetch:
        from hermes_cli.engines.llama_cpp.server import import_library

        import_library()  # a system that cannot run the starter must fail before the download
    if selection is None:
        selection = _resolve(runtime, _offer(runtime, machine, request), machine, request)
    if selection is not None and selection.needs_fetch:
        fetch_starter(runtime)
        selection = _resolve(runtime, name, machine, request)
    if selection is None or selection.needs_fetch:
        raise ModelUnavailable(
            "there is no model on this machine", "'hermes models pull starter' downloads a small one"
        )
    return selection


def _offer(runtime: Runtime, machine: Hardware, request: PlanRequest) -> str:
    """Return the name of the model to download on a machine that has none.

    Ask the user if there are several, at a terminal with a network connection; otherwise use the starter.
    """
    terminal = runtime.terminal
    choices = offer.suggest_models(machine, request)
    can_ask = terminal.stdin_is_tty and terminal.stderr_is_tty and len(choices) > 1
    if not can_ask or not repository.hub_reachable(HUB_PATIENCE_S):
        return STARTER.alias
    terminal.plain("There is no model on this machine yet. Choose one to download:")
    rows = [(str(n), one.name, size_text(one.size), one.description) for n, one in enumerate(choices, 1)]
    terminal.plain(columns(rows, indent="  "))
    by_number = {number: name for number, name, *_ in rows}
    *others, last = by_number
    answer = terminal.ask(f"{', '.join(others)} or {last} [1]: ").strip()
    chosen = by_number.get(answer, STARTER.alias)
    if chosen != STARTER.alias:
        pull(runtime, chosen)
    return chosen


def fetch_starter(runtime: Runtime) -> Path:
    """Download the starter model if it is missing, and return its path."""
    with progress(runtime.terminal) as report:
        return starter.fetch(runtime.paths.models, progress=report)


def pull(runtime: Runtime, name: str) -> Path:
    """Download a model by name if it is missing, and return its path."""
    ref = parse(name, models_dir=runtime.paths.models)
    if ref.is_starter:
        return fetch_starter(runtime)
    installed = selection.find(ref, runtime.paths.models)
    if installed is not None and not installed.broken:
        return installed.path
    with progress(runtime.terminal) as report:
        return repository.pull(str(ref.repo), ref.file, progress=report)


def open_later(runtime: Runtime, choice: ModelChoice) -> BackgroundEngine:
    """Return an engine that loads the model on a thread. The caller starts it."""
    return BackgroundEngine(
        lambda report: open_engine(runtime, choice, report, in_subprocess=True),
        name=choice.plan.model if choice.plan else choice.selection.name,
        context_size=choice.plan.context_size if choice.plan else 0,
    )


def open_engine(
    runtime: Runtime,
    choice: ModelChoice,
    report: Callable[[int, int], None] | None = None,
    *,
    in_subprocess: bool = False,
) -> Engine:
    """Load the model. `report` is called with the progress; without it a progress bar is shown.

    With `in_subprocess`, llama.cpp is loaded in a child process: in this one it would block key presses.
    """
    if choice.plan is None or choice.selection.model is None:
        from hermes_cli.engines.scripted import load_script

        return load_script(choice.script or Path())
    plan, model = choice.plan, choice.selection.model
    if plan.engine == "transformers":
        requirements.check(plan, model.facts)
        with nullcontext(report) if report else loading(runtime.terminal, plan.model) as shown_report:
            from hermes_cli.engines.transformers.engine import TransformersEngine

            return TransformersEngine.open(
                plan,
                report=shown_report,
                cache_dir=PromptCacheDir(runtime.paths.prefixes),
                cuda_graphs=runtime.settings.decode == "ahead",
            )
    from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine

    if model.header is None:
        raise ModelUnavailable(f"{plan.path} has no GGUF header")
    return LlamaCppEngine(
        model.header,
        name=plan.model,
        context_size=plan.context_size,
        threads=plan.threads,
        verbose=runtime.debug,
        in_subprocess=in_subprocess,
    )


def quantize_model(runtime: Runtime, name: str, output: Path | None, device: str | None) -> str:
    """Quantize a model to NF4, save it, print its size and load times, and return its name for -m.

    Raises UsageError if the model has no 16-bit weights or the folder exists already, and any error of
    loading the model.
    """
    choice = choose_model(runtime, name, PlanRequest(precision="4bit", device=device))
    plan, model = choice.plan, choice.selection.model
    if plan is None or model is None or plan.quantization != "nf4":
        what = plan.precision if plan else "a script"
        raise UsageError(f"{name} is {what} and cannot be quantized", "name a model with 16-bit weights")
    requirements.check(plan, model.facts)
    folder = output or runtime.paths.models / f"{_file_name(plan.model)}-nf4"
    if folder.exists():
        raise UsageError(f"{folder} already exists", "remove it, or name another folder with -o")
    require_space(plan.weight_bytes, folder.parent)
    with loading(runtime.terminal, plan.model) as report:
        from hermes_cli.engines.transformers import quantize

        before_s, now_s = quantize.quantize(plan, folder, report)
    size = sum(file.stat().st_size for file in folder.iterdir())
    saved_name = str(folder) if output else folder.name
    runtime.terminal.notice(
        f"{sanitize_line(saved_name)}: {size_text(size)} in 4-bit NF4; its weights load in {now_s:.1f} s; "
        f"with quantizing it took {before_s:.1f} s ({now_s / before_s:.2f}x)"
    )
    return saved_name


def _file_name(model: str) -> str:
    """Return a model's name as a file name, without the repository's owner and the suffix `:16bit`."""
    return model.rpartition("/")[2].removesuffix(":16bit").replace(":", "-")
