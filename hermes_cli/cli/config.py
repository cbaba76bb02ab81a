"""`hermes config`: the active settings, and where each one comes from."""

import typer

from hermes_cli.application.runtime import Runtime

app = typer.Typer(
    help="Show the settings and where they come from.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("path")
def path(context: typer.Context) -> None:
    """Print the path of the config file."""
    runtime: Runtime = context.obj
    runtime.terminal.write(f"{runtime.paths.config_file}\n")


@app.command("show")
def show(context: typer.Context) -> None:
    """Show every setting with its value and where it came from."""
    from hermes_cli import options  # noqa: PLC0415 - each command imports only what it uses
    from hermes_cli.config import PLAIN_SETTINGS  # noqa: PLC0415
    from hermes_cli.screen.columns import columns  # noqa: PLC0415

    runtime: Runtime = context.obj
    settings = runtime.settings
    rows = [
        (name, str(value) if (value := getattr(settings, name)) is not None else "-", settings.source(name))
        for name in PLAIN_SETTINGS
    ]
    sampling = settings.sampling(flags={})
    rows += [
        (name, options.value_text(getattr(sampling.options, name)), sampling.source(name))
        for name in options.FIELDS
    ]
    runtime.terminal.write(columns(rows) + "\n")
