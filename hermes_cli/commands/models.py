"""`hermes models`: which models are here, what they are, fetching and removing them."""

from typing import Annotated

import typer

from hermes_cli.commands.runtime import Runtime
from hermes_cli.screen.columns import columns

app = typer.Typer(
    help="List, fetch, show and remove models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="An alias, a .gguf file, a folder, or owner/name of the hub.")]


@app.command("list")
def list_models(context: typer.Context) -> None:
    """List the models on this machine, and those that have a short name."""
    from hermes_cli.models import local  # noqa: PLC0415 - each verb pays for what it uses
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
    """Fetch a model."""
    from hermes_cli.commands.model_choice import pull as fetch  # noqa: PLC0415

    runtime: Runtime = context.obj
    runtime.terminal.write(f"{fetch(runtime, name)}\n")


@app.command("show")
def show(context: typer.Context, name: Name) -> None:
    """Show what a model's own file says, without loading it."""
    from hermes_cli.models import describe  # noqa: PLC0415

    runtime: Runtime = context.obj
    model = describe.installed_model(name, runtime.paths.models)
    runtime.terminal.write(columns(describe.facts(model)) + "\n")


@app.command("rm")
def rm(context: typer.Context, name: Name) -> None:
    """Delete a model from this machine."""
    from hermes_cli.models import describe, local  # noqa: PLC0415
    from hermes_cli.models.download import size_text  # noqa: PLC0415

    runtime: Runtime = context.obj
    model = describe.installed_model(name, runtime.paths.models)
    freed = local.remove(model, runtime.paths.models)
    runtime.terminal.notice(f"{model.name} is gone; {size_text(freed)} are free again")
