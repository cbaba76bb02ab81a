"""`hermes ask`: one answer, for scripts. Standard output is only the answer and one newline."""

from typing import Annotated

import typer

from hermes_cli.cli import params

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def ask(
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with the answer and its statistics.")
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Print the answer when it is complete.")
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
    """Answer one prompt and exit.

    Standard input, then the files, then PROMPT make the prompt, with a blank line between them.
    """
    from hermes_cli.application import print_answer  # noqa: PLC0415 - slow, and a usage error must not wait for it
    from hermes_cli.application.flags import Flags  # noqa: PLC0415

    flags = Flags.from_context(context)
    print_answer.run(context.obj, flags, prompt or [], files or [], prefill, as_json=as_json, whole=no_stream)
