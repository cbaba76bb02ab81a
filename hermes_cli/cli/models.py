"""`hermes models`: list, download, show, plan, quantize and remove models."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hermes_cli.application.runtime import Runtime
from hermes_cli.cli import params
from hermes_cli.screen.columns import columns
from hermes_cli.screen.sanitize import sanitize_line

app = typer.Typer(
    help="List, download, show and remove models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

cache = typer.Typer(
    help="Manage the prompt cache: the evaluated system prompts that are kept between runs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(cache, name="cache")

MAX_LINE = 2000
"""Largest number of characters shown of a plan's summary and of its reason."""

Name = Annotated[str, typer.Argument(help="A short name, a .gguf file, a folder, or owner/name on the hub.")]


@app.command("list")
def list_models(context: typer.Context) -> None:
    """List the installed models and the short names."""
    from hermes_cli.models import local  # noqa: PLC0415 - each command imports only what it uses
    from hermes_cli.models.catalogue import CATALOGUE  # noqa: PLC0415
    from hermes_cli.models.download import size_text  # noqa: PLC0415

    runtime: Runtime = context.obj
    here = local.installed(runtime.paths.models)
    rows = [(m.name, size_text(m.size), m.precision, m.broken or str(m.path)) for m in here]
    if rows:
        runtime.terminal.write(columns(rows) + "\n")
    names = {m.name for m in here}
    more = [
        (entry.spelling(variant), size_text(variant.size), entry.description)
        for entry in CATALOGUE.values()
        for variant in entry.variants
        if entry.spelling(variant) not in names
    ]
    runtime.terminal.notice("" if not rows else "\n" + "to fetch with 'hermes models pull NAME':")
    runtime.terminal.notice(columns(more))


@app.command("pull")
def pull(context: typer.Context, name: Name) -> None:
    """Download a model."""
    from hermes_cli.application.open_model import pull as fetch  # noqa: PLC0415

    runtime: Runtime = context.obj
    runtime.terminal.write(f"{fetch(runtime, name)}\n")


@app.command("show")
def show(context: typer.Context, name: Name) -> None:
    """Show a model's metadata, without loading it."""
    from hermes_cli.models import describe, selection  # noqa: PLC0415

    runtime: Runtime = context.obj
    model = selection.installed_model(name, runtime.paths.models)
    runtime.terminal.write(columns(describe.rows(model)) + "\n")


@app.command("plan")
def plan(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The model, as after -m.", show_default=False)] = None,
    context_size: params.Context = None,
    precision: params.Precision = None,
    device: params.Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how a model would run on this machine, with the memory that each option needs.

    A model with a short name need not be downloaded first. Without NAME, the plan is for the default model.
    """
    from hermes_cli.application.flags import Flags  # noqa: PLC0415
    from hermes_cli.application.open_model import plan_of  # noqa: PLC0415 - see pull
    from hermes_cli.models import requirements  # noqa: PLC0415
    from hermes_cli.models.plan import report  # noqa: PLC0415

    runtime: Runtime = context.obj
    facts, fetched, result = plan_of(
        runtime, name, Flags.from_context(context).plan_request(runtime.settings)
    )
    if as_json:
        found = report.as_object(facts, result, fetched=fetched)
        runtime.terminal.write(json.dumps(found, ensure_ascii=False) + "\n")
    elif rows := report.considered_in(result):
        runtime.terminal.write(f"{columns(report.table(rows))}\n")
    if not fetched:
        runtime.terminal.notice(f"{facts.name} is not fetched yet: these are the sums of its card")
    if isinstance(result, Exception):
        raise result
    if not as_json:
        lines = (sanitize_line(text, MAX_LINE) for text in (result.summary, result.reason))
        runtime.terminal.write("\n" + "".join(f"{line}\n" for line in lines))
        if lacking := requirements.unmet(result, facts):
            runtime.terminal.notice(f"before it runs: {lacking.message}; {lacking.hint}")


@app.command("rm")
def rm(context: typer.Context, name: Name) -> None:
    """Remove a model."""
    from hermes_cli.models import local, selection  # noqa: PLC0415
    from hermes_cli.models.download import size_text  # noqa: PLC0415

    runtime: Runtime = context.obj
    model = selection.installed_model(name, runtime.paths.models)
    freed = local.remove(model, runtime.paths.models)
    runtime.terminal.notice(f"Removed {model.name}; freed {size_text(freed)}.")


@app.command("quantize")
def quantize(
    context: typer.Context,
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write to this folder instead of the models folder.", metavar="FOLDER"
        ),
    ] = None,
    device: params.Device = None,
) -> None:
    """Quantize a model's weights to 4 bits (NF4) and save them, so that later loads are faster.

    Print the name of the saved model, for use after -m.
    """
    from hermes_cli.application.quantize_model import quantize  # noqa: PLC0415 - see pull

    runtime: Runtime = context.obj
    made = quantize(runtime, name, output, device)
    runtime.terminal.notice(made.summary)
    runtime.terminal.write(f"{made.name}\n")


@cache.command("clear")
def clear_cache(context: typer.Context) -> None:
    """Clear the prompt cache."""
    from hermes_cli.engines.prompt_cache_dir import PromptCacheDir  # noqa: PLC0415 - see pull
    from hermes_cli.models.download import size_text  # noqa: PLC0415

    runtime: Runtime = context.obj
    count, size = PromptCacheDir(runtime.paths.prefixes).clear()
    runtime.terminal.notice(
        f"{count} kept prompt{'' if count == 1 else 's'} gone, {size_text(size)} are free again"
    )
