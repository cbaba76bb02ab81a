"""`hermes tokens`: the exact ids of a prompt, instead of an answer."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.commands import params
from hermes_cli.commands.runtime import Runtime

if TYPE_CHECKING:
    from hermes_cli.engines.base import PromptToken

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tokens(
    context: typer.Context,
    prompt: params.Prompt = None,
    files: params.Files = None,
    model: params.Model = None,
    persona: params.PersonaName = None,
    system: params.System = None,
    prefill: params.Prefill = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of {id, text, control}.")] = False,
) -> None:
    """Show the token ids of the prompt that `ask` would send."""
    from hermes_cli.commands.model_choice import prompt_tokens  # noqa: PLC0415 - see ask.py
    from hermes_cli.commands.prompt_input import check_text, read_prompt  # noqa: PLC0415
    from hermes_cli.messages import Message, Role  # noqa: PLC0415

    runtime: Runtime = context.obj
    text = read_prompt(runtime.terminal, prompt or [], files or [])
    chosen = runtime.persona(persona)
    turns = runtime.opening(chosen, system).add(Message(Role.USER, text))
    if check_text(prefill, "--prefill"):
        turns = turns.add(Message(Role.ASSISTANT, prefill))
    found = prompt_tokens(runtime, model, turns.messages)
    if as_json:
        rows = [{"id": t.id, "text": t.text, "control": t.control} for t in found]
        runtime.terminal.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    runtime.terminal.write("".join(_row(token) for token in found))
    runtime.terminal.notice(f"{len(found):,} tokens")


def _row(token: "PromptToken") -> str:
    """Return a line: the id, a mark where it is a control token, the text as a quoted literal."""
    mark = "control" if token.control else ""
    return f"{token.id:>7}  {mark:<7}  {json.dumps(token.text, ensure_ascii=False)}\n"
