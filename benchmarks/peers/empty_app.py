"""The empty typer app of command-startup: hermes' own settings, and two commands that do nothing."""

from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def start(version: Annotated[bool, typer.Option("--version")] = False) -> None:  # noqa: FBT002
    if version:
        typer.echo("empty 1")


@app.command()
def ask(prompt: str = "") -> None:
    """Answer nothing."""


@app.command()
def chat() -> None:
    """Print nothing."""
