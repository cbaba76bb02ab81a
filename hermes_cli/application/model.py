"""Selects, downloads and plans models by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import find_server, with_model
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.scripted import PREFIX as SCRIPTED
from hermes_cli.engines.stream_filters import reject_ban
from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models import gpu_advice, hardware, offer, requirements, selection, starter
from hermes_cli.models.catalogue import CATALOGUE, STARTER
from hermes_cli.models.download import estimate, size_text
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.forms import Form, choose_form
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.hub import repository
from hermes_cli.models.plan import Plan, PlanRequest
from hermes_cli.models.reference import parse, variant_ref
from hermes_cli.models.selection import Selection, plan_facts
from hermes_cli.options import LayeredOptions
from hermes_cli.prompts.format_choice import RAW
from hermes_cli.screen.columns import columns
from hermes_cli.screen.progress import progress
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

if TYPE_CHECKING:  # imported only if a server is used
    from hermes_cli.engines.remote.engine import RemoteEngine

HUB_PATIENCE_S = 3.0


@dataclass(slots=True)
class ModelChoice:
    """The model to open: `plan` is set for a model here, `server` for one on a server, `script` for a script.

    `plan` is replaced if memory runs out and a smaller plan is used. `can_use_gpu` is true if llama.cpp
    supports a GPU of this machine, even if the plan uses none. `is_for_group` is true if several characters
    answer: each has its own system prompt, so that the engine keeps their KV caches. `context_size` is the
    requested context window on a server, and `connection` its engine, if it is open.
    """

    selection: Selection
    plan: Plan | None = None
    script: Path | None = None
    server: ServerAddress | None = None
    context_size: int | None = None
    connection: "RemoteEngine | None" = None
    can_use_gpu: bool = False
    is_for_group: bool = False

    @property
    def summary(self) -> str:
        """The model and its plan in one line."""
        if self.server is not None:
            return self._server_summary
        return self.plan.summary if self.plan else f"scripted · {self.script}"

    @property
    def _server_summary(self) -> str:
        assert self.server is not None  # noqa: S101 - see `summary`
        parts = [self.server.model, self.server.label]
        if self.connection is not None:
            engine = self.connection
            parts = [engine.name, f"{engine.server_name} at {self.server.label}", engine.level_text]
            parts.append(f"context {engine.context_size}")
        return " · ".join(parts)

    @property
    def headline(self) -> str:
        """The model, its precision, device and context size."""
        return f"{self.plan.headline} · context {self.plan.context_size}" if self.plan else self.summary

    def check_options(self, layered: LayeredOptions) -> None:
        """Raise UsageError if the engine that runs the model does not support an option that is set."""
        if self.connection is not None:
            self.connection.check_options(layered.options)
        elif self.script is not None:
            reject_ban(layered.options, "the scripted engine", layered.source("ban"))

    @property
    def precision(self) -> str:
        """The precision of the weights, for display, or "" if it is unknown."""
        return self.plan.precision if self.plan else ""

    @property
    def reason(self) -> str:
        """The reasons for the model and for its plan."""
        return f"{self.selection.reason}; {self.plan.reason}" if self.plan else self.selection.reason


def choose_model(runtime: Runtime, name: str | None, request: PlanRequest) -> ModelChoice:
    """Return the model to open. If none is installed, let the user choose one, and download it.

    At a terminal, if a GPU is not used, print the reason and the command that helps.

    Raises ModelUnavailable, ResourcesExhausted or UsageError, each with a hint.
    """
    if script := scripted(runtime, name):
        return script
    if (address := find_server(runtime, name, insecure=request.insecure)) is not None:
        return server_choice(runtime, address, request)
    machine = hardware.probe()
    choice = _planned(select_model(runtime, name, machine, request), machine, request)
    if choice.plan is not None and choice.selection.model is not None and runtime.terminal.stderr_is_tty:
        advice = gpu_advice.advise(machine, choice.plan, choice.selection.model.facts, request)
        if advice:
            runtime.terminal.notice(sanitize_line(str(advice), LONG_LINE))
    return choice


def server_choice(runtime: Runtime, address: ServerAddress, request: PlanRequest) -> ModelChoice:
    """Return a model on a server. Raises the errors of `with_model`, and of `find_tokenizer`."""
    if request.chat_template == RAW:
        raise UsageError("--raw needs a model on this machine", "name one with -m, or omit --raw")
    if address.tokenizer:
        from hermes_cli.application.server_tokenizer import find_tokenizer

        find_tokenizer(runtime, address)
    address = with_model(runtime, address)
    selected = Selection(address.model, "a server was requested")
    return ModelChoice(selected, server=address, context_size=request.context_size)


def _planned(selected: Selection, machine: Hardware, request: PlanRequest) -> ModelChoice:
    plan = selected.plan(machine, request)
    return ModelChoice(selected, plan, can_use_gpu=bool(machine.llama.backend))


def with_request(choice: ModelChoice, request: PlanRequest) -> ModelChoice:
    """Return the same model with a plan for another request. Raises ResourcesExhausted if it does not fit."""
    if choice.server is not None:
        return replace(choice, context_size=request.context_size, connection=None)
    return replace(choice, plan=choice.selection.plan(hardware.probe(), request))


def known_choice(runtime: Runtime, request: PlanRequest) -> ModelChoice | None:
    """Return the default model, or None if it would have to be downloaded first."""
    if script := scripted(runtime, None):
        return script
    if find_server(runtime, None) is not None:  # it is not contacted
        return None
    machine = hardware.probe()
    selection = _resolve(runtime, None, machine, request)
    if selection is None or selection.needs_fetch:
        return None
    return _planned(selection, machine, request)


@dataclass(frozen=True, slots=True)
class PlanReport:
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
    facts, is_installed = plan_facts(ref, runtime.paths.models)
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


def _default(runtime: Runtime) -> Selection | None:
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


def scripted(runtime: Runtime, name: str | None) -> ModelChoice | None:
    """Return the scripted engine if the name or the settings request it, else None."""
    named = name or runtime.settings.model
    if not named or not named.startswith(SCRIPTED):
        return None
    path = Path(named.removeprefix(SCRIPTED))
    return ModelChoice(Selection("scripted", "a script was requested"), script=path)


def _resolve(runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest) -> Selection | None:
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


def select_model(runtime: Runtime, name: str | None, machine: Hardware, request: PlanRequest) -> Selection:
    """Return the named or the default model. If no model is installed, download one."""
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
    """Return the name of a model for a machine without one, and download it unless it is the starter.

    Ask the user if there are several choices, a terminal and a connection; otherwise use the starter.
    """
    terminal = runtime.terminal
    choices = offer.suggest_models(machine, request)
    can_ask = terminal.stdin_is_tty and terminal.stderr_is_tty and len(choices) > 1
    if terminal.stderr_is_tty:
        terminal.prose("There is no model on this machine yet.")
    if not can_ask:
        return STARTER.alias
    if not repository.hub_reachable(HUB_PATIENCE_S):
        terminal.prose("The hub of models cannot be reached; only the starter is available.")
        return STARTER.alias
    terminal.prose("Choose one to download:")
    rows = [(str(n), one.name, size_text(one.size), one.description) for n, one in enumerate(choices, 1)]
    terminal.rows(columns(rows, indent="  "))
    by_number = {number: name for number, name, *_ in rows}
    *others, last = by_number
    answer = terminal.ask(f"{', '.join(others)} or {last} [1]: ").strip()
    chosen = by_number.get(answer, STARTER.alias)
    if chosen != STARTER.alias:
        pull(runtime, chosen)
    return chosen


def fetch_starter(runtime: Runtime) -> Path:
    """Download the starter model if it is missing, and return its path."""
    folder = runtime.paths.models
    if runtime.terminal.stderr_is_tty and not starter.is_installed(folder):
        target = sanitize_line(str(folder), LONG_LINE)
        runtime.terminal.prose(f"Downloading the starter ({size_text(STARTER.gguf.size)}) to {target}")
    with progress(runtime.terminal) as report:
        return starter.fetch(folder, progress=report)


def pull(runtime: Runtime, name: str) -> Path:
    """Download a model by name if it is missing, and return its path.

    Before a model of the catalogue is downloaded, print its size, the estimated time and the free disk
    space; for a short name, also print the chosen form and the reason.
    """
    ref = parse(name, models_dir=runtime.paths.models)
    if ref.entry is not None and ref.variant is None:
        choice = choose_form(ref.entry, hardware.probe(), PlanRequest())
        name, reason = choice.chosen.name, choice.reason
        reason = sanitize_line(reason.removeprefix(f"{name} "), LONG_LINE)
        runtime.terminal.notice(f"{name} ({choice.chosen.size}): {reason}")
        ref = variant_ref(choice.chosen.variant)
    if ref.is_starter:
        return fetch_starter(runtime)
    installed = selection.find(ref, runtime.paths.models)
    if installed is not None and not installed.broken:
        return installed.path
    if ref.variant is not None:
        folder = repository.cache_folder()
        size, duration = size_text(ref.variant.size), estimate(ref.variant.size, folder)
        target = sanitize_line(str(folder), LONG_LINE)
        runtime.terminal.notice(f"Downloading {size} to {target}: {duration}.")
        if ref.variant.gated and ref.entry is not None:
            free = ref.entry.spelling(ref.entry.gguf)
            runtime.terminal.notice(f"{ref.name} is gated: its terms must be accepted; {free} is not gated")
    with progress(runtime.terminal) as report:
        return repository.pull(str(ref.repo), ref.file, progress=report)
