"""`hermes personas`: list, show, create, edit, check, import and export personas."""

from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.application.runtime import Runtime
from hermes_cli.cli import params
from hermes_cli.screen.columns import columns

if TYPE_CHECKING:
    from hermes_cli.personas.persona import Persona

LINE_LENGTH = 100

app = typer.Typer(
    help="List, show, create, edit, check, import and export personas.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="A persona's name, or its file.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


@app.command("list")
def list_personas(context: typer.Context) -> None:
    """List the personas that --persona accepts."""
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
    """Return the description of a persona, or else the first line of its author's notes, or its name."""
    notes = (line.strip() for line in persona.creator_notes.splitlines())
    return persona.description or next(filter(None, notes), persona.name)[:LINE_LENGTH]


@app.command("show")
def show_command(context: typer.Context, name: Name) -> None:
    """Show a persona: its texts, greetings, lorebook, and its author's notes."""
    from hermes_cli.application.persona_show import show  # noqa: PLC0415 - each command imports only what it uses

    show(context.obj, name)


@app.command("new")
def new_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The character's name.")],
    force: Force = False,
) -> None:
    """Create a persona from a commented template."""
    from hermes_cli.application.persona_edit import begin  # noqa: PLC0415 - see above

    begin(context.obj, name, force=force)


@app.command("edit")
def edit_command(context: typer.Context, name: Name) -> None:
    """Edit a persona's file in $VISUAL or $EDITOR, and check it afterwards.

    Of one that came with hermes, or is a card, your own file is made first.
    """
    from hermes_cli.application.persona_edit import edit  # noqa: PLC0415 - see above

    edit(context.obj, name)


@app.command("check")
def check_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name or file of a persona or a world.")],
    model: params.Model = None,
    context_size: params.Context = None,
) -> None:
    """Check a persona: missing texts, texts too long for the context, lore that cannot fire."""
    from hermes_cli.application.persona_check import check  # noqa: PLC0415 - see above

    check(context, name, model)


@app.command("import")
def import_command(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Character cards, worlds, and files of other programs."),
    ],
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Set the name under which it is imported.")
    ] = "",
    force: Force = False,
) -> None:
    """Import personas and worlds of other programs. The type is detected from the content.

    Character cards (V1 to V3; JSON, PNG, CHARX), SillyTavern's worlds, Modelfiles, aichat's roles, llm's
    templates, text-generation-webui's characters, LM Studio's presets. At a mistake nothing is kept.
    """
    from hermes_cli.application.persona_files import import_files  # noqa: PLC0415 - see above

    import_files(context.obj, files, name, force=force)


@app.command("export")
def export_command(
    context: typer.Context,
    name: Name,
    format_name: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="Set the format: v1, v2, v3, png, charx, modelfile or toml."
        ),
    ] = "",
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write to this file or folder instead of standard output."
        ),
    ] = "",
    force: Force = False,
) -> None:
    """Export a persona for another program. Fields that hermes does not use are kept.

    Without --format the file's ending says which; .json, or no file, is v2, which every program reads.
    """
    from hermes_cli.application.persona_files import export  # noqa: PLC0415 - see above

    export(context.obj, name, format_name, output, force=force)
