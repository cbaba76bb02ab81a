"""`hermes chat`: a conversation in a terminal, or line by line from a pipe."""

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import CONVERSATION, PLAN, SAMPLING, command, new_app

app = new_app()


@command(
    app,
    takes=(
        *CONVERSATION,
        "continue_last",
        "resume",
        "fork",
        "log",
        "no_log",
        *PLAN,
        "fallback",
        *SAMPLING,
        "statistics",
    ),
    examples=(
        "hermes chat -m starter",
        "hermes chat -p edward-elric --user Winry",
        "hermes chat -c",
    ),
)
def chat(runtime: Runtime, flags: Flags) -> None:
    """Chat with a model.

    If standard input is not a terminal, each line is one turn.
    """
    from hermes_cli.application.chat import run_chat

    raise typer.Exit(run_chat(runtime, flags))
