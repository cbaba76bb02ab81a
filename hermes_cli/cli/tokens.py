"""`hermes tokens`: the exact token ids of a prompt."""

import json
from typing import Annotated, Final

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import CONVERSATION, PLAN, Files, Prefill, Prompt, Raw, command, new_app
from hermes_cli.screen.columns import pluralize

app = new_app()

BATCH: Final = 1000
"""Tokens that are printed at a time: the JSON of a long prompt takes 100 times the memory of its text."""


@command(
    app,
    takes=(*CONVERSATION, "variables", *PLAN, "max_tokens", "seed"),
    examples=('hermes tokens "Hi there"', 'hermes tokens -p edward-elric "Who are you?" --json'),
)
def tokens(
    runtime: Runtime,
    flags: Flags,
    prompt: Prompt = None,
    files: Files = None,
    prefill: Prefill = "",
    raw: Raw = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of {id, text, control}.")] = False,
) -> None:
    """Show the token ids of the prompt that `ask` would send.

    Only the flags of `ask` that change the prompt are accepted.
    """
    from hermes_cli.application.prompt import read_prompt
    from hermes_cli.application.prompt_tokens import completion_tokens, prompt_tokens

    if raw:
        flags.check_raw(prefill)
    read = read_prompt(runtime, flags, prompt or [], files or [])
    token_list = (
        completion_tokens(runtime, flags, read.plain_text)
        if raw
        else prompt_tokens(runtime, flags, read.text, prefill)
    )
    if as_json:
        for start in range(0, len(token_list), BATCH):
            batch = token_list[start : start + BATCH]
            rows = [{"id": t.id, "text": t.text, "control": t.control} for t in batch]
            text = json.dumps(rows, ensure_ascii=False)[1:-1]
            runtime.terminal.write(f", {text}" if start else f"[{text}")
        runtime.terminal.write("]\n")
        return
    for token in token_list:
        mark = "control" if token.control else ""
        text = json.dumps(token.text, ensure_ascii=False)
        runtime.terminal.write(f"{token.id:>7}  {mark:<7}  {text}\n")
    runtime.terminal.notice(pluralize(len(token_list), "token"))
