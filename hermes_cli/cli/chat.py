"""`hermes chat`: a conversation in a terminal, or line by line from a pipe."""

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import CONVERSATION, PLAN, SAMPLING, Files, Prompt, command, new_app

app = new_app()


@command(
    app,
    takes=(
        *CONVERSATION,
        "variables",
        "continue_last",
        "resume",
        "fork",
        "log",
        "no_log",
        *PLAN,
        "fallback",
        "insecure",
        "thinking",
        *SAMPLING,
        "statistics",
    ),
    examples=(
        "hermes chat -m starter",
        "hermes chat -p edward-elric --user Winry",
        'git diff | hermes chat "Review this."',
    ),
)
def chat(runtime: Runtime, flags: Flags, prompt: Prompt = None, files: Files = None) -> None:
    """Chat with a model.

    With PROMPT, the first message is standard input, if it is not a terminal, the files and PROMPT; the
    following ones are typed at the terminal. If PROMPT is -, the first message is standard input alone.

    Without PROMPT and files, each line of a standard input that is not a terminal is one turn.
    """
    from hermes_cli.application.chat import run_chat

    first = None
    if prompt or files:
        from hermes_cli.application.prompt import read_prompt

        first = read_prompt(runtime, flags, prompt or [], files or [])
    raise typer.Exit(run_chat(runtime, flags, first))
