"""`hermes completion`: the script for a shell, and the completions that the script asks for."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import Command, Debug, examples_text, new_app

app = new_app()

SCRIPTS = Path(__file__).with_name("completion_scripts")


class Shell(StrEnum):
    """A shell for which there is a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command(cls=Command, epilog=examples_text(['eval "$(hermes completion bash)"']))
def completion(
    context: typer.Context,
    shell: Annotated[
        Shell, typer.Argument(help="The shell: bash, zsh or fish.", metavar="SHELL", show_default=False)
    ],
    line: Annotated[
        str | None,
        typer.Option(
            "--complete",
            metavar="LINE",
            hidden=True,
            help="Print the completions of this command line, as the script does.",
        ),
    ] = None,
    debug: Debug = False,  # noqa: ARG001 - its callback handles it
) -> None:
    """Print a script with which a shell completes commands, options and names.

    \b
    bash: add this line to ~/.bashrc:
      eval "$(hermes completion bash)"
    zsh: add this line to ~/.zshrc, below compinit:
      eval "$(hermes completion zsh)"
    fish: run this command once:
      hermes completion fish > ~/.config/fish/completions/hermes.fish
    """  # noqa: D301 - \b keeps the lines of a paragraph apart
    runtime: Runtime = context.obj
    if line is None:
        runtime.terminal.write((SCRIPTS / f"hermes.{shell}").read_text(encoding="utf-8"))
        return
    from hermes_cli.application.shell_completion import complete

    try:
        candidates = complete(context.find_root().command, line, runtime.environ)
    except Exception:  # noqa: BLE001 - a message would appear in the line that the user is typing
        return
    runtime.terminal.write("".join(f"{candidate.value}\t{candidate.help}\n" for candidate in candidates))
