"""`hermes personas`: which characters there are, what they say, and how they come and go as files."""

from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.commands import params
from hermes_cli.commands.runtime import Runtime
from hermes_cli.screen.columns import columns

if TYPE_CHECKING:
    from hermes_cli.personas.persona import Persona

LINE_LENGTH = 100

app = typer.Typer(
    help="List, show, make, edit, check, import and export personas.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="A persona's name, or its file.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]


@app.command("list")
def list_personas(context: typer.Context) -> None:
    """List every persona that --persona can name."""
    runtime: Runtime = context.obj
    rows = [
        (
            row.key,
            _about(row.persona) if row.persona else f"broken: {row.error}",
            "" if row.shipped else str(row.source),
        )
        for row in runtime.personas()
    ]
    runtime.terminal.write(columns(rows) + "\n")


def _about(persona: "Persona") -> str:
    """Return a line about a persona: its own, or else the first of its maker's notes."""
    notes = (line.strip() for line in persona.creator_notes.splitlines())
    return persona.description or next(filter(None, notes), persona.name)[:LINE_LENGTH]


@app.command("show")
def show_command(context: typer.Context, name: Name) -> None:
    """Show what a persona is: its texts as they are written, greetings, lorebook, and its maker's notes."""
    from hermes_cli.commands.persona_show import show  # noqa: PLC0415 - each verb pays for what it uses

    show(context.obj, name)


@app.command("new")
def new_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the character is called.")],
    force: Force = False,
) -> None:
    """Begin a persona with a commented file that teaches the format."""
    from hermes_cli.commands.persona_edit import begin  # noqa: PLC0415 - see above

    begin(context.obj, name, force=force)


@app.command("edit")
def edit_command(context: typer.Context, name: Name) -> None:
    """Open a persona's file in $VISUAL or $EDITOR, and check it then.

    Of one that came with hermes, or is a card, your own file is made first.
    """
    from hermes_cli.commands.persona_edit import edit  # noqa: PLC0415 - see above

    edit(context.obj, name)


@app.command("check")
def check_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A persona's or a world's name, or its file.")],
    model: params.Model = None,
    context_size: params.Context = None,
) -> None:
    """Say what a persona lacks, what is too long for the context, and which lore can never fire."""
    from hermes_cli.commands.persona_check import check  # noqa: PLC0415 - see above

    check(context, name, model)


@app.command("import")
def import_command(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Cards, worlds and the like.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="What it is called here.")] = "",
    force: Force = False,
) -> None:
    """Take over personas and worlds of other programs; what a file is, its content says.

    Character cards (V1 to V3; JSON, PNG, CHARX), SillyTavern's worlds, Modelfiles, aichat's roles, llm's
    templates, text-generation-webui's characters, LM Studio's presets. At a mistake nothing is kept.
    """
    from hermes_cli.commands.persona_files import import_files  # noqa: PLC0415 - see above

    import_files(context.obj, files, name, force=force)


@app.command("export")
def export_command(
    context: typer.Context,
    name: Name,
    format_name: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="v1, v2, v3, png, charx, modelfile or toml."),
    ] = "",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="A file, or a folder; else standard output.")
    ] = "",
    force: Force = False,
) -> None:
    """Write a persona for another program. What hermes does not use of its card goes with it.

    Without --format the file's ending says which; .json, or no file, is v2, which every program reads.
    """
    from hermes_cli.commands.persona_files import export  # noqa: PLC0415 - see above

    export(context.obj, name, format_name, output, force=force)
