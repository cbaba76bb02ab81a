"""`hermes config`: the active settings and their sources, and changes of the config file."""

from typing import Annotated

import typer

from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import command, new_app

app = new_app(
    "Show and change the settings.",
    examples=("hermes config show", "hermes config set temperature 0.7", "hermes config edit"),
)


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
    from hermes_cli.screen.sanitize import sanitize_line

    settings = runtime.settings
    rows = [(name, _text(getattr(settings, name)), settings.source(name)) for name in PLAIN_SETTINGS]
    rows += [("user.description", sanitize_line(settings.about_user) or "-", settings.source("about_user"))]
    lore = ((name, getattr(settings.lore, name)) for name in NAMES)
    rows += [(f"lore.{name}", _text(value), settings.source("lore")) for name, value in lore]
    rows += [
        (
            f"users.{sanitize_line(key)}",
            sanitize_line(": ".join(filter(None, (user.name, user.description)))),
            settings.source("users"),
        )
        for key, user in settings.users.items()
    ]
    sampling = settings.sampling(flags={})
    rows += [
        (name, options.value_text(getattr(sampling.options, name)), sampling.source(name))
        for name in options.FIELDS
    ]
    runtime.terminal.write_rows(columns(rows))


def _text(value: object) -> str:
    """Return a value as in the config file, or "-" if it is not set."""
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)


@command(app, "set")
def set_command(
    runtime: Runtime,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A setting or an option, as 'hermes config show' lists it.")
    ],
    values: Annotated[
        list[str], typer.Argument(metavar="VALUE...", help="Its value; stop and ban take several.")
    ],
) -> None:
    """Set a value in the config file. Its comments and layout are kept."""
    from hermes_cli.application.config_file import set_value

    set_value(runtime, key, values)


@command(app, "edit")
def edit_command(runtime: Runtime) -> None:
    """Edit the config file in $VISUAL or $EDITOR, and check it afterwards.

    If the text is invalid, the config file is unchanged, and the next edit opens the text again.
    """
    from hermes_cli.application.config_file import edit

    edit(runtime)
