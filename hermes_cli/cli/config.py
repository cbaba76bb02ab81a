"""`hermes config`: the active settings and their sources."""

from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import command, new_app

app = new_app("Show the settings and where they come from.")


@command(app, "path")
def path(runtime: Runtime) -> None:
    """Print the path of the config file."""
    runtime.terminal.write(f"{runtime.paths.config_file}\n")


@command(app, "show")
def show(runtime: Runtime) -> None:
    """Show every setting with its value and its source."""
    from hermes_cli import options
    from hermes_cli.config import PLAIN_SETTINGS
    from hermes_cli.lore_settings import NAMES
    from hermes_cli.screen.columns import columns

    settings = runtime.settings
    rows = [
        (name, str(value) if (value := getattr(settings, name)) is not None else "-", settings.source(name))
        for name in PLAIN_SETTINGS
    ]
    lore = ((name, getattr(settings.lore, name)) for name in NAMES)
    rows += [(f"lore.{name}", str(value).lower(), settings.source("lore")) for name, value in lore]
    sampling = settings.sampling(flags={})
    rows += [
        (name, options.value_text(getattr(sampling.options, name)), sampling.source(name))
        for name in options.FIELDS
    ]
    runtime.terminal.write_rows(columns(rows))
