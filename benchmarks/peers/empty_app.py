"""The empty typer app of command-startup: hermes' own settings, and two commands that do nothing."""

from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer passes the flag by position
    if wanted:
        typer.echo("empty 1")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,  # noqa: FBT002
) -> None:
    """Do nothing."""


@app.command()
def ask(prompt: str = "") -> None:
    """Answer nothing."""


@app.command()
def chat() -> None:
    """Print nothing."""
