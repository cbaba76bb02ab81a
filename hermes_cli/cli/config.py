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
    from hermes_cli.application.config_file import setting_rows
    from hermes_cli.screen.columns import columns

    runtime.terminal.write_rows(columns(setting_rows(runtime.settings)))


@command(app, "set", writes="config")
def set_command(
    runtime: Runtime,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="A setting or an option, as 'hermes config show' lists it, or users.NAME.name or "
            "servers.NAME.url.",
        ),
    ],
    values: Annotated[
        list[str], typer.Argument(metavar="VALUE...", help="Its value; stop and ban take several.")
    ],
) -> None:
    """Set a value in the config file. Its comments and layout are kept."""
    from hermes_cli.application.config_file import set_value

    set_value(runtime, key, values)


@command(app, "unset", writes="config")
def unset_command(
    runtime: Runtime,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="A setting or an option, or users.NAME for a user persona, or servers.NAME for a server.",
        ),
    ],
) -> None:
    """Remove a value from the config file, and print the value that applies now.

    The comments and the layout of the file are kept.
    """
    from hermes_cli.application.config_file import unset_value

    unset_value(runtime, key)


@command(app, "edit", writes="config")
def edit_command(runtime: Runtime) -> None:
    """Edit the config file in $VISUAL or $EDITOR, and check it afterwards.

    If the text is invalid, the config file is unchanged, and the next edit opens the text again.
    """
    from hermes_cli.application.config_file import edit

    edit(runtime)
