"""`hermes chat`: a conversation in a terminal, or line by line from a pipe."""

import typer

from hermes_cli.cli import params

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def chat(
    context: typer.Context,
    model: params.Model = None,
    persona: params.PersonaName = None,
    system: params.System = None,
    user: params.User = None,
    lore: params.Lore = None,
    on_overflow: params.OnOverflow = None,
    continue_last: params.Continue = False,
    resume: params.Resume = None,
    fork: params.Fork = False,
    no_log: params.NoLog = False,
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
    """Chat with a model.

    If standard input is not a terminal, each line is one turn.
    """
    from hermes_cli.application.flags import Flags  # noqa: PLC0415
    from hermes_cli.application.interactive import converse  # noqa: PLC0415 - slow, and usage errors need not wait

    raise typer.Exit(converse(context.obj, Flags.from_context(context)))
