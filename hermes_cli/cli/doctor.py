"""`hermes doctor`: versions, hardware, folders, models, and the model that would be loaded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from hermes_cli import __version__
from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import HermesError

if TYPE_CHECKING:
    from hermes_cli.models.gpus import Gpu
    from hermes_cli.models.hardware import Hardware

app = typer.Typer(add_completion=False, rich_markup_mode=None)

LIBRARIES = ("xllamacpp", "tokenizers", "huggingface-hub", "prompt-toolkit", "rich", "typer")
ENGINE_LIBRARIES = ("torch", "transformers", "accelerate", "bitsandbytes")


@app.command()
def doctor(context: typer.Context) -> None:
    """Show versions, hardware, folders and models, and what would be loaded."""
    from hermes_cli.application.flags import Flags  # noqa: PLC0415
    from hermes_cli.application.open_model import known_choice  # noqa: PLC0415 - see config.py
    from hermes_cli.models import hardware, local  # noqa: PLC0415
    from hermes_cli.models.download import size_text  # noqa: PLC0415
    from hermes_cli.screen.columns import columns  # noqa: PLC0415

    runtime: Runtime = context.obj
    machine = hardware.probe()
    sections: dict[str, Sequence[Sequence[str]]] = {
        "versions": _versions(),
        "hardware": _hardware(machine),
        "system libraries": _system_libraries(),
        "folders": _folders(runtime),
        "models": [
            (m.name, size_text(m.size), m.precision, m.broken or "")
            for m in local.installed(runtime.paths.models)
        ]
        or [("none",)],
    }
    try:
        choice = known_choice(runtime, Flags().plan_request(runtime.settings))
        sections["would load"] = (
            [("the starter, which would be fetched first (98 MB)",)]
            if choice is None
            else [(choice.summary,), *((clause,) for clause in choice.reason.split("; "))]
        )
    except HermesError as error:
        sections["would load"] = [(f"nothing: {error.message}",), (error.hint,)]
    for title, rows in sections.items():
        runtime.terminal.write(f"{title}\n{columns(rows, indent='  ')}\n")


def _versions() -> list[tuple[str, ...]]:
    import importlib.metadata  # noqa: PLC0415 - see above
    import platform  # noqa: PLC0415

    rows = [("hermes", __version__), ("python", platform.python_version()), ("system", platform.platform())]
    for name in (*LIBRARIES, *ENGINE_LIBRARIES):
        try:
            rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append((name, "not installed"))
    return list(rows)


def _system_libraries() -> list[tuple[str, ...]]:
    from hermes_cli import system_packages  # noqa: PLC0415 - see above

    missing = system_packages.missing_libraries()
    return [
        (name, f"missing: {system_packages.advice_here([name])}" if name in missing else "found")
        for name in system_packages.LIBRARIES
    ]


def _hardware(machine: "Hardware") -> list[tuple[str, ...]]:
    gib = 1024**3
    rows = [
        (
            "processor",
            machine.cpu,
            f"{machine.physical_cores} physical cores, {machine.logical_cores} logical",
        ),
        ("memory", f"{machine.memory_available / gib:.1f} of {machine.memory_total / gib:.1f} GiB free"),
    ]
    rows += [
        (
            "gpu",
            f"{gpu.label}  {gpu.name}{_architecture(gpu)}",
            f"{gpu.memory_free / gib:.1f} of {gpu.memory_total / gib:.1f} GiB free",
        )
        for gpu in machine.gpus
    ]
    return [*rows] if machine.gpus else [*rows, ("gpu", "none found")]


def _architecture(gpu: "Gpu") -> str:
    """Return the GPU's compute capability or AMD architecture, which determines the precision."""
    if gpu.capability:
        return f", compute capability {gpu.capability[0]}.{gpu.capability[1]}"
    return f", {gpu.arch}" if gpu.arch and gpu.arch not in gpu.name else ""


def _folders(runtime: Runtime) -> list[tuple[str, ...]]:
    from hermes_cli.engines.prompt_cache_dir import PromptCacheDir  # noqa: PLC0415 - see above
    from hermes_cli.models.download import size_text  # noqa: PLC0415
    from hermes_cli.models.hub import repository  # noqa: PLC0415

    paths = runtime.paths
    count, size = PromptCacheDir(paths.prefixes).usage()
    return [
        ("config", str(paths.config_file), "" if paths.config_file.exists() else "not there yet"),
        ("personas", str(paths.personas)),
        ("models", str(paths.models)),
        ("hub cache", str(repository.cache_folder())),
        ("history", str(paths.history)),
        ("conversations", str(paths.conversations), "" if paths.conversations.exists() else "not there yet"),
        ("kept prompts", str(paths.prefixes), f"{count}, {size_text(size)}" if count else "none"),
    ]
