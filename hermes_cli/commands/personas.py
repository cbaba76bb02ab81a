"""`hermes personas`: which characters there are, and what they say."""

from typing import Annotated

import typer

from hermes_cli.commands.runtime import Runtime
from hermes_cli.screen.columns import columns

app = typer.Typer(
    help="List and show personas.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.command("list")
def list_personas(context: typer.Context) -> None:
    """List every persona that --persona can name."""
    runtime: Runtime = context.obj
    rows = [
        (
            row.key,
            row.persona.description if row.persona else f"broken: {row.error}",
            "" if row.shipped else str(row.source),
        )
        for row in runtime.personas()
    ]
    runtime.terminal.write(columns(rows) + "\n")


@app.command("show")
def show(
    context: typer.Context, name: Annotated[str, typer.Argument(help="A persona's name, or its file.")]
) -> None:
    """Show what a persona is and how its conversation opens."""
    from hermes_cli.messages import Role  # noqa: PLC0415 - each verb pays for what it uses

    runtime: Runtime = context.obj
    persona = runtime.persona(name)
    facts = [("name", persona.name), ("description", persona.description), ("file", str(persona.source))]
    facts += [(key, str(value)) for key, value in persona.options.items()]
    runtime.terminal.write(columns([row for row in facts if row[1]]) + "\n")
    for message in runtime.opening(persona, None):
        who = persona.name if message.role is Role.ASSISTANT else message.role.value
        runtime.terminal.write(f"\n[{who}]\n{message.text}\n")
