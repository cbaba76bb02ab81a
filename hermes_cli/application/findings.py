"""Finds what hermes cannot use on this machine, and what fixes it, for `hermes doctor`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from hermes_cli import system_packages
from hermes_cli.application.flags import Flags
from hermes_cli.application.model import known_choice
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.server_tokenizer import find_tokenizer
from hermes_cli.application.servers import find_server
from hermes_cli.config import HOME_VARIABLE, write_problem
from hermes_cli.engines.remote.address import ServerAddress
from hermes_cli.engines.remote.server_state import ServerState
from hermes_cli.errors import ConfigError, HermesError, KeyRefused, ModelUnavailable, UsageError
from hermes_cli.models import gpu_advice, requirements
from hermes_cli.models.catalogue import STARTER
from hermes_cli.models.download import size_text
from hermes_cli.models.gpu_advice import Advice
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.local import InstalledModel
from hermes_cli.models.offer import SUGGESTED_MODEL
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.store import database

CODES: Final = (
    "settings",
    "folder",
    "conversations",
    "persona",
    "library",
    "model",
    "no-model",
    "broken-model",
    "server",
    "server-key",
    "server-model",
    "server-tokenizer",
    "gpu-list",
    "gpu-driver",
    "gpu-unused",
    "cpu-unused",
)
"""The codes of the findings. docs/troubleshooting.md has a section for each."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, or a suggestion that makes hermes faster.

    `fix` says what to do, with the command if there is one.
    """

    code: str
    message: str
    fix: str
    is_problem: bool = True


class Diagnosis(NamedTuple):
    """The result of `diagnose`: the default model, or the reason why there is none, and the findings.

    If the default model is on a server, `server` is its address, and `choice` is None.
    """

    choice: ModelChoice | None
    model_error: HermesError | None
    findings: tuple[Finding, ...]
    server: ServerAddress | None = None

    @property
    def has_problems(self) -> bool:
        """Whether a finding is a problem, not only a suggestion."""
        return any(finding.is_problem for finding in self.findings)


def diagnose(
    runtime: Runtime,
    machine: Hardware,
    models: Iterable[InstalledModel],
    missing_libraries: Iterable[str],
    servers: Iterable[ServerState] = (),
) -> Diagnosis:
    """Check the settings, folders, models and hardware. Nothing is changed, downloaded or loaded.

    `servers` are the states of the configured servers.
    """
    findings = [*_folders(runtime), *_libraries(missing_libraries), *_broken(models), *_servers(servers)]
    choice: ModelChoice | None = None
    server: ServerAddress | None = None
    error: HermesError | None = None
    request = PlanRequest()
    try:
        request = Flags().plan_request(runtime.settings)
    except HermesError as invalid:
        error = invalid
        fix = error.hint or f"edit {runtime.paths.config_file}"
        findings.insert(0, Finding("settings", error.message, fix))
    else:
        findings += [*_persona(runtime), *_tokenizers(runtime)]
        try:
            server = find_server(runtime, None)
            choice = None if server else known_choice(runtime, request)
        except HermesError as unusable:
            error = unusable
        if server is None:
            findings += _model(choice, error)
    findings += _hardware(machine, choice, request)
    return Diagnosis(choice, error, tuple(findings), server)


def _folders(runtime: Runtime) -> Iterator[Finding]:
    data = runtime.paths.data
    if runtime.home_problem:
        home = runtime.environ[HOME_VARIABLE]
        message = f"nothing is saved: {HOME_VARIABLE}={home}: {runtime.home_problem}"
        yield Finding("folder", message, f"set {HOME_VARIABLE} to a folder that you can write to")
    elif problem := write_problem(data):
        yield Finding(
            "folder",
            f"nothing is saved: {data}: {problem}",
            f"fix the folder's permissions, or set {HOME_VARIABLE} to another folder",
        )
    elif error := database.find_problem(runtime.paths.conversations):
        yield Finding("conversations", error.message, error.hint)


def _libraries(missing: Iterable[str]) -> Iterator[Finding]:
    for name in missing:
        yield Finding("library", f"this system lacks {name}", system_packages.advice_here([name]))


def _broken(models: Iterable[InstalledModel]) -> Iterator[Finding]:
    for model in models:
        if model.broken:
            fix = model.advice or f"download it again, or remove it: hermes models rm {model.name}"
            yield Finding("broken-model", f"{model.name} is broken: {model.broken}", fix)


def _servers(states: Iterable[ServerState]) -> Iterator[Finding]:
    """Yield the findings about servers. One that does not answer is no problem of this machine."""
    for state in states:
        if state.error is not None:
            is_local = isinstance(state.error, ConfigError | UsageError)
            is_key = isinstance(state.error, KeyRefused) or (is_local and bool(state.url))
            yield _from_error(
                "server-key" if is_key else "server", state.error, is_problem=is_key or is_local
            )
        if state.model_error is not None:
            yield _from_error("server-model", state.model_error)


def _tokenizers(runtime: Runtime) -> Iterator[Finding]:
    """Yield the findings about the tokenizers of servers that are not on this machine, or broken."""
    for name in runtime.settings.servers:
        try:
            address = find_server(runtime, name)
            if address is not None and address.tokenizer:
                find_tokenizer(runtime, address)
        except ModelUnavailable as error:
            yield _from_error("server-tokenizer", error)
        except HermesError:  # in the address, which is another finding
            continue


def _from_error(code: str, error: HermesError, *, is_problem: bool = True) -> Finding:
    fix = error.hint or "'hermes config edit' opens the settings of the server"
    return Finding(code, error.message, fix, is_problem=is_problem)


def _persona(runtime: Runtime) -> Iterator[Finding]:
    try:
        runtime.persona(None)
    except HermesError as error:
        yield Finding("persona", error.message, error.hint)


def _model(choice: ModelChoice | None, error: HermesError | None) -> Iterator[Finding]:
    """Yield the finding about the default model, if it cannot be loaded or there is none."""
    if choice is not None and choice.plan is not None and choice.selected.model is not None:
        error = requirements.unmet(choice.plan, choice.selected.model.facts)
    if error is not None:
        yield Finding("model", error.message, error.hint)
    elif choice is None:
        size = size_text(STARTER.gguf.size)
        message = (
            f"no model is installed; 'hermes chat' offers some, such as the starter ({size}), "
            "which is only for testing"
        )
        yield Finding("no-model", message, f"run: hermes models pull {SUGGESTED_MODEL}", is_problem=False)


def _hardware(machine: Hardware, choice: ModelChoice | None, request: PlanRequest) -> Iterator[Finding]:
    build = machine.llama
    if build.problem:
        yield _from_advice("gpu-list", gpu_advice.problem_of_build(build.problem), is_problem=True)
    for vendor in machine.without_driver:
        yield _from_advice("gpu-driver", gpu_advice.missing_driver(vendor))
    if machine.gpus and not build.backend and (advice := _advice_for_gpu(machine, choice, request)):
        yield _from_advice("gpu-unused", advice)
    if unused := gpu_advice.unused_instructions():
        yield Finding(
            "cpu-unused",
            f"the installed llama.cpp does not use the processor's {unused}",
            gpu_advice.SOURCE_BUILD,
            is_problem=False,
        )


def _advice_for_gpu(machine: Hardware, choice: ModelChoice | None, request: PlanRequest) -> Advice | None:
    """Return the advice about a GPU for the default model; without one, for llama.cpp."""
    if choice is None or choice.plan is None or choice.selected.model is None:
        return gpu_advice.cpu_only_build(machine.gpus[0])
    return gpu_advice.advise(machine, choice.plan, choice.selected.model.facts, request)


def _from_advice(code: str, advice: Advice, *, is_problem: bool = False) -> Finding:
    return Finding(code, advice.reason, advice.remedy, is_problem=is_problem)
