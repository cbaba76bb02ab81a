"""`hermes ask`: one answer, for scripts. Standard output contains only the answer and a newline."""

from pathlib import Path
from typing import Annotated

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import CONVERSATION, PLAN, SAMPLING, command, new_app

app = new_app()

Prompt = Annotated[
    list[str] | None, typer.Argument(help="The prompt.", metavar="[PROMPT]...", show_default=False)
]
Files = Annotated[
    list[Path] | None,
    typer.Option("-f", "--file", help="Add a text file to the prompt; several may follow.", metavar="FILE"),
]
Prefill = Annotated[str, typer.Option("--prefill", help="Begin the answer with this text.", metavar="TEXT")]


@command(
    app,
    takes=(*CONVERSATION, "continue_last", "log", *PLAN, "fallback", *SAMPLING, "statistics"),
    examples=(
        'git diff | hermes ask "Write a commit message." --max-tokens 80',
        'hermes ask -f report.md "Summarize this." --json',
        'hermes ask -p edward-elric "Who is your brother?"',
    ),
)
def ask(
    runtime: Runtime,
    flags: Flags,
    prompt: Prompt = None,
    files: Files = None,
    prefill: Prefill = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with the answer and its statistics.")
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Print the answer when it is complete.")
    ] = False,
) -> None:
    """Answer one prompt and exit.

    The prompt is standard input, the files and PROMPT in this order, separated by blank lines. - as the first
    word of PROMPT or after -f is standard input.
    """
    from hermes_cli.application import prompt as prompts

    text = prompts.read_prompt(runtime.terminal, prompt or [], files or [])
    prompts.print_answer(runtime, flags, text, prefill, as_json=as_json, at_once=no_stream)
