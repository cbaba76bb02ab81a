"""`hermes doctor`: versions, hardware, folders, models, and the model that would be loaded."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli import __version__
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import command, new_app
from hermes_cli.errors import ConfigError
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

if TYPE_CHECKING:
    from hermes_cli.application.findings import Diagnosis, Finding
    from hermes_cli.engines.remote.server_state import ServerState
    from hermes_cli.models.gpus import Gpu
    from hermes_cli.models.hardware import Hardware

app = new_app()

LIBRARIES = ("xllamacpp", "tokenizers", "huggingface-hub", "prompt-toolkit", "rich", "typer")
ENGINE_LIBRARIES = ("torch", "transformers", "accelerate", "bitsandbytes")


@command(app, examples=("hermes doctor", "hermes doctor --json > report.json"))
def doctor(
    runtime: Runtime,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show versions, hardware, folders and models, and find problems.

    The servers of the config file are asked for their models, within two seconds; without one, nothing is
    contacted. The exit code is 1 if there is a problem.
    """
    from hermes_cli import system_packages
    from hermes_cli.application.findings import diagnose
    from hermes_cli.models import hardware, local
    from hermes_cli.models.download import size_text

    machine = hardware.probe()
    installed = local.installed(runtime.paths.models)
    models = [(m.name, size_text(m.size), m.precision, m.broken or "") for m in installed]
    missing = system_packages.missing_libraries()
    states = _server_states(runtime)
    diagnosis = diagnose(runtime, machine, installed, missing, states)
    sections: dict[str, Sequence[Sequence[str]]] = {
        "versions": _versions(),
        "hardware": _hardware(machine),
        "llama.cpp": _llama_cpp(machine),
        "system libraries": [
            (name, "missing" if name in missing else "found") for name in system_packages.LIBRARIES
        ],
        "folders": _folders(runtime),
        "models": models or [("none",)],
        **({"servers": [_server_row(state) for state in states]} if states else {}),
        "would load": _default_model(diagnosis),
    }
    if as_json:
        rows_by_title = {title: [list(row) for row in rows] for title, rows in sections.items()}
        findings = [dataclasses.asdict(finding) for finding in diagnosis.findings]
        runtime.terminal.write(json.dumps({**rows_by_title, "findings": findings}) + "\n")
    else:
        for title, rows in sections.items():
            runtime.terminal.write_rows(f"{title}\n{columns(rows, indent='  ')}")
        runtime.terminal.write_rows(_findings_text(diagnosis.findings))
    if diagnosis.has_problems:
        raise typer.Exit(1)


def _findings_text(findings: "Sequence[Finding]") -> str:
    """Return the problems and then the suggestions, each with its fix on the next line."""
    lines = []
    for title, is_problem in (("problems", True), ("suggestions", False)):
        selected = [finding for finding in findings if finding.is_problem is is_problem]
        if selected or is_problem:
            lines.append(title)
        for finding in selected:
            message = sanitize_line(finding.message, LONG_LINE)
            lines += [f"  {message} ({finding.code})", f"    {sanitize_line(finding.fix, LONG_LINE)}"]
        if is_problem and not selected:
            lines.append("  none found")
    return "\n".join(lines)


def _default_model(diagnosis: "Diagnosis") -> list[tuple[str, ...]]:
    """Return the plan of the default model and the reasons for it, or the reason why none can be loaded."""
    choice, error, server = diagnosis.choice, diagnosis.model_error, diagnosis.server
    if server is not None:
        return [(f"{server.model or 'a model'} on the server {server.label}",)]
    if error is not None:
        return [(f"none: {error.message}",)]
    if choice is None:
        return [("the starter, after its download",)]
    return [(choice.summary,), *((clause,) for clause in choice.reason.split("; "))]


def _server_states(runtime: Runtime) -> "list[ServerState]":
    """Return the states of the configured servers; none if the config file is invalid, which is a finding."""
    from hermes_cli.application.server_list import configured_states

    try:
        return configured_states(runtime)
    except ConfigError:
        return []


def _server_row(state: "ServerState") -> tuple[str, ...]:
    if state.error is not None:
        return (state.name, state.url, "not usable")
    counts = (f"tokens counted here with {state.tokenizer}",) if state.tokenizer else ()
    return (state.name, state.url, state.title, pluralize(len(state.models), "model"), *counts)


def _versions() -> list[tuple[str, ...]]:
    import importlib.metadata
    import platform

    rows: list[tuple[str, ...]] = [
        ("hermes", __version__),
        ("python", platform.python_version()),
        ("system", platform.platform()),
    ]
    for name in (*LIBRARIES, *ENGINE_LIBRARIES):
        try:
            rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append((name, "not installed"))
    return rows


def _gpu_row(gpu: "Gpu") -> tuple[str, ...]:
    gib = 1024**3
    free = f"{gpu.memory_free / gib:.1f} of {gpu.memory_total / gib:.1f} GiB free"
    return "gpu", f"{gpu.label}  {gpu.name}{_architecture(gpu)}", free


def _hardware(machine: "Hardware") -> list[tuple[str, ...]]:
    gib = 1024**3
    cores = f"{machine.physical_cores} physical cores, {machine.logical_cores} logical"
    memory = f"{machine.memory_available / gib:.1f} of {machine.memory_total / gib:.1f} GiB free"
    gpus = [_gpu_row(gpu) for gpu in machine.gpus]
    return [("processor", machine.cpu, cores), ("memory", memory), *(gpus or [("gpu", "none found")])]


def _llama_cpp(machine: "Hardware") -> list[tuple[str, ...]]:
    """Return the GPUs that the installed llama.cpp supports."""
    build = machine.llama
    rows = [_gpu_row(gpu) for gpu in build.gpus]
    if build.problem:
        rows.append(("gpu", f"unknown: {build.problem}"))
    elif not rows:
        rows.append(
            ("gpu", f"none: it is built for {build.backend}" if build.backend else "none: it runs on the CPU")
        )
    rows += [("gpu", f"{vendor}: its driver does not respond") for vendor in machine.without_driver]
    return rows


def _architecture(gpu: "Gpu") -> str:
    """Return the GPU's compute capability or AMD architecture, which determines the precision."""
    if gpu.capability:
        return f", compute capability {gpu.capability[0]}.{gpu.capability[1]}"
    return f", {gpu.arch}" if gpu.arch and gpu.arch not in gpu.name else ""


def _folders(runtime: Runtime) -> list[tuple[str, ...]]:
    from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
    from hermes_cli.models.download import size_text
    from hermes_cli.models.hub.cache import cache_folder

    paths = runtime.paths
    count, size = PromptCacheDir(paths.prefixes).usage()
    return [
        ("config", str(paths.config_file), _existence(paths.config_file)),
        ("personas", str(paths.personas)),
        ("models", str(paths.models)),
        ("hub cache", str(cache_folder())),
        ("history", str(paths.history)),
        ("conversations", str(paths.conversations), _existence(paths.conversations), *_saving(runtime)),
        ("prompt cache", str(paths.prefixes), f"{count}, {size_text(size)}" if count else "none"),
    ]


def _saving(runtime: Runtime) -> tuple[str, ...]:
    try:
        settings = runtime.settings
    except ConfigError:  # it is a finding
        return ()
    return () if settings.save else (f"nothing is saved: save = false ({settings.source('save')})",)


def _existence(path: Path) -> str:
    return "" if path.exists() else "does not exist yet"
