"""`hermes tokens`: the exact token ids of a prompt."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.application.runtime import Runtime
from hermes_cli.cli import params

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
    user: params.User = None,
    lore: params.Lore = None,
    on_overflow: params.OnOverflow = None,
    prefill: params.Prefill = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of {id, text, control}.")] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="As in ask; here it changes nothing.")
    ] = False,
    continue_last: params.Continue = False,
    log: params.Log = False,
    context_size: params.Context = None,
    precision: params.Precision = None,
    device: params.Device = None,
    temperature: params.Temperature = None,
    top_p: params.TopP = None,
    top_k: params.TopK = None,
    min_p: params.MinP = None,
    repetition_penalty: params.RepetitionPenalty = None,
    max_tokens: params.MaxTokens = None,
    seed: params.Seed = None,
    stop: params.Stop = None,
    dry_multiplier: params.DryMultiplier = None,
    dry_base: params.DryBase = None,
    dry_allowed_length: params.DryAllowedLength = None,
    xtc_probability: params.XtcProbability = None,
    xtc_threshold: params.XtcThreshold = None,
    loop_guard: params.LoopGuard = None,
    ban: params.Ban = None,
    statistics: params.Statistics = False,
) -> None:
    """Show the token ids of the prompt that `ask` would send.

    It takes what `ask` takes: put the one word in place of the other.
    """
    from hermes_cli.application.flags import Flags  # noqa: PLC0415
    from hermes_cli.application.prompt_input import read_prompt  # noqa: PLC0415
    from hermes_cli.application.prompt_tokens import spelled  # noqa: PLC0415 - see ask.py
    from hermes_cli.chat.input_text import check_text  # noqa: PLC0415

    runtime: Runtime = context.obj
    text = read_prompt(runtime.terminal, prompt or [], files or [])
    found = spelled(runtime, Flags.from_context(context), text, check_text(prefill, "--prefill"))
    if as_json:
        rows = [{"id": t.id, "text": t.text, "control": t.control} for t in found]
        runtime.terminal.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    runtime.terminal.write("".join(_row(token) for token in found))
    runtime.terminal.notice(f"{len(found):,} tokens")


def _row(token: "PromptToken") -> str:
    """Return a line with the id, a mark for a control token, and the text as a quoted literal."""
    mark = "control" if token.control else ""
    return f"{token.id:>7}  {mark:<7}  {json.dumps(token.text, ensure_ascii=False)}\n"
