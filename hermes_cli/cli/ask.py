"""`hermes ask`: one answer, for scripts. Standard output contains only the answer and a newline."""

from typing import Annotated

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import CONVERSATION, PLAN, SAMPLING, Files, Prefill, Prompt, Raw, command, new_app
from hermes_cli.errors import UsageError

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
        *PLAN,
        "fallback",
        "insecure",
        "thinking",
        *SAMPLING,
        "statistics",
    ),
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
    json_stream: Annotated[
        bool,
        typer.Option(
            "--json-stream", help="Print a JSON object for each piece of the answer, and one at its end."
        ),
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Print the answer when it is complete.")
    ] = False,
    raw: Raw = False,
    then_chat: Annotated[
        bool, typer.Option("--then-chat", help="Continue in a chat, which is saved, after the answer.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("-q", "--quiet", help="Print no notices, only errors and warnings about the answer."),
    ] = False,
) -> None:
    """Answer one prompt and exit.

    The prompt is standard input, the files and PROMPT in this order, separated by blank lines. - as the first
    word of PROMPT or after -f is standard input.
    """
    from hermes_cli.application.answer import OutputFormat, print_answer, print_completion
    from hermes_cli.application.prompt import read_prompt

    if raw:
        flags.check_raw(prefill, then_chat=then_chat)
    if then_chat and (as_json or json_stream or no_stream or prefill):
        raise UsageError(
            "--then-chat excludes --json, --json-stream, --no-stream and --prefill", "omit one of them"
        )
    if as_json + json_stream + no_stream > 1:
        raise UsageError("--json, --json-stream and --no-stream exclude each other", "use one of them")
    if quiet:
        runtime.terminal.quiet = True
    output = OutputFormat.COMPLETE if no_stream else OutputFormat.STREAM
    if as_json or json_stream:
        output = OutputFormat.JSON if as_json else OutputFormat.JSON_LINES
    text = read_prompt(runtime, flags, prompt or [], files or [])
    if then_chat:
        from hermes_cli.application.chat import run_chat

        raise typer.Exit(run_chat(runtime, flags, text))
    if raw:
        print_completion(runtime, flags, text, output)
    else:
        print_answer(runtime, flags, text, prefill, output)
