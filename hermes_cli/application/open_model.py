"""Opens the engine of a model name: select the model, download it if necessary, plan, load."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hermes_cli.application.runtime import Runtime
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Engine, PromptToken
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.engines.scripted import PREFIX as SCRIPTED
from hermes_cli.engines.tokenizer_json import has_tokenizer, read_vocabulary
from hermes_cli.errors import HermesError, ModelUnavailable
from hermes_cli.messages import Message
from hermes_cli.models import describe, hardware, offer, requirements, selection, starter
from hermes_cli.models.catalogue import STARTER
from hermes_cli.models.download import size_text
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.hub import repository
from hermes_cli.models.plan import Plan, PlanRequest, choose
from hermes_cli.models.reference import parse
from hermes_cli.models.selection import Selection
from hermes_cli.screen.columns import columns
from hermes_cli.screen.progress import loading, progress

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
    if script := _script(runtime, name):
        return script
    machine = hardware.probe()
    selection = _selection(runtime, name, machine, request)
    return ModelChoice(selection, selection.plan(machine, request))


def known_choice(runtime: Runtime, request: PlanRequest) -> ModelChoice | None:
    """Return the default model, or None if it would have to be downloaded first."""
    if script := _script(runtime, None):
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
    facts, fetched = describe.plan_facts(name, runtime.paths.models)
    try:
        return facts, fetched, choose(machine, facts, request)
    except HermesError as error:
        return facts, fetched, error


def _script(runtime: Runtime, name: str | None) -> ModelChoice | None:
    named = name or runtime.settings.model
    if not named or not named.startswith(SCRIPTED):
        return None
    path = Path(named.removeprefix(SCRIPTED))
    return ModelChoice(Selection("scripted", "a script was asked for"), script=path)


def _resolve(runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest) -> Selection | None:
    return selection.resolve(
        name,
        models_dir=runtime.paths.models,
        hardware=machine,
        configured=runtime.settings.model,
        request=request,
    )


def _selection(runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest) -> Selection:
    """Return the selection for a name or the default. Offer to download a model if there is none."""
    selection = _resolve(runtime, name, machine, request)
    if selection is None or selection.needs_fetch:
        from hermes_cli.engines.llama_cpp.server import import_library  # noqa: PLC0415 - loads the library

        import_library()  # a system that cannot run the starter must fail before the download
    if selection is None:
        selection = _resolve(runtime, _offer(runtime, machine, request), machine, request)
    if selection is not None and selection.needs_fetch:
        fetch_starter(runtime)
        selection = _resolve(runtime, name, machine, request)
    if selection is None or selection.needs_fetch:
        raise ModelUnavailable(
            "there is no model to talk to", "'hermes models pull starter' fetches a small one"
        )
    return selection


def _offer(runtime: Runtime, machine: Hardware, request: PlanRequest) -> str:
    """Return the name of the model to download on a machine that has none.

    Ask the user if there are several, at a terminal with a network connection; otherwise use the starter.
    """
    terminal = runtime.terminal
    choices = offer.offers(machine, request)
    asked = terminal.stdin_is_tty and terminal.stderr_is_tty and len(choices) > 1
    if not asked or not repository.hub_reachable(HUB_PATIENCE_S):
        return STARTER.alias
    terminal.plain("There is no model on this machine yet. Which one shall be fetched?")
    rows = [(str(n), one.name, size_text(one.size), one.what) for n, one in enumerate(choices, 1)]
    terminal.plain(columns(rows, indent="  "))
    numbers = [number for number, *_ in rows]
    answer = terminal.ask(f"{', '.join(numbers[:-1])} or {numbers[-1]} [1]: ").strip()
    by_number = {number: name for number, name, *_ in rows}
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
    here = selection.find(ref, runtime.paths.models)
    if here is not None and not here.broken:
        return here.path
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
        from hermes_cli.engines.scripted import load_script  # noqa: PLC0415

        return load_script(choice.script or Path())
    plan, model = choice.plan, choice.selection.model
    if plan.engine == "transformers":
        requirements.check(plan, model.facts)
        with nullcontext(report) if report else loading(runtime.terminal, plan.model) as told:
            from hermes_cli.engines.transformers.engine import TransformersEngine  # noqa: PLC0415 - loads torch

            graphs = runtime.settings.decode == "ahead"
            return TransformersEngine.open(
                plan, report=told, cache_dir=_prompt_cache_dir(runtime), cuda_graphs=graphs
            )
    from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine  # noqa: PLC0415 - loads the library

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


def _prompt_cache_dir(runtime: Runtime) -> PromptCacheDir | None:
    """Return the prefix cache for the personas' system prompts, or None if nothing may be saved."""
    if runtime.leaves_no_trace:
        return None
    return PromptCacheDir(
        runtime.paths.prefixes,
        wanted=lambda system: not runtime.leaves_no_trace and system in runtime.persona_prompts,
    )


class PromptTokenizer(Protocol):
    """A tokenizer of prompts."""

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt."""


@contextmanager
def open_tokenizer(runtime: Runtime, name: str | None, request: PlanRequest) -> Iterator[PromptTokenizer]:
    """Yield a model's tokenizer without loading its weights, which may even be missing from its folder."""
    if script := _script(runtime, name):
        yield open_engine(runtime, script)
        return
    if folder := _named_folder(runtime, name or runtime.settings.model):
        yield read_vocabulary(folder)
        return
    model = _selection(runtime, name, hardware.probe(), request).model
    if model is not None and model.header is not None:
        from hermes_cli.engines.llama_cpp.vocabulary import vocabulary_engine  # noqa: PLC0415 - see `open_engine`

        with vocabulary_engine(model.header, verbose=runtime.debug) as engine:
            yield engine
        return
    if model is None or not model.path.is_dir():
        raise ModelUnavailable(
            "this model has neither a GGUF header nor a tokenizer.json",
            "name a .gguf file, or a folder with one",
        )
    yield read_vocabulary(model.path)


def prompt_tokens(
    runtime: Runtime, name: str | None, messages: Sequence[Message], request: PlanRequest
) -> list[PromptToken]:
    """Return the exact tokens of a prompt for a model, without loading its weights."""
    with open_tokenizer(runtime, name, request) as speller:
        return speller.prompt_tokens(messages)


def _named_folder(runtime: Runtime, name: str | None) -> Path | None:
    """Return the named model's folder if it contains a tokenizer, with or without weights."""
    if name is None:
        return None
    model = selection.find(parse(name, models_dir=runtime.paths.models), runtime.paths.models)
    return model.path if model is not None and has_tokenizer(model.path) else None
