"""`hermes personas`: list, show, create, edit, check, import and export personas."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.cli.command import Force, Output, command, new_app
from hermes_cli.errors import UsageError
from hermes_cli.screen.columns import columns

if TYPE_CHECKING:
    from hermes_cli.personas.persona import Persona

LINE_LENGTH = 100

app = new_app(
    "List, show, create, edit, check, import and export personas.",
    examples=(
        'hermes personas new "Captain Nemo"',
        "hermes personas import seraphina.png",
        "hermes personas export seraphina --format png -o card.png",
    ),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A persona's name, or its file.")]


@command(app, "list")
def list_personas(runtime: Runtime) -> None:
    """List the personas that --persona accepts."""
    rows = [
        (
            row.key,
            _description(row.persona) if row.persona else f"broken: {row.error}",
            "" if row.shipped else str(row.source),
        )
        for row in runtime.personas()
    ]
    runtime.terminal.write_rows(columns(rows))


def _description(persona: "Persona") -> str:
    """Return a persona's description, or else the first line of its author's notes, or else its name."""
    notes = (line.strip() for line in persona.creator_notes.splitlines())
    return persona.description or next(filter(None, notes), persona.name)[:LINE_LENGTH]


@command(app, "show")
def show_command(runtime: Runtime, name: Name) -> None:
    """Show a persona's texts, greetings, lorebook and author's notes."""
    from hermes_cli.application.personas import show

    show(runtime, name)


@command(app, "new", writes="config")
def new_command(
    runtime: Runtime,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The character's name.")],
    force: Force = False,
) -> None:
    """Create a persona from a commented template."""
    from hermes_cli.application.personas import create

    create(runtime, name, force=force)


@command(app, "edit")
def edit_command(runtime: Runtime, name: Name) -> None:
    """Edit a persona's file in $VISUAL or $EDITOR, and check it afterwards.

    A persona that comes with hermes is first copied to your personas folder. A character card is imported.
    """
    from hermes_cli.application.personas import edit

    edit(runtime, name)


@command(app, "check", takes=("model", "context"))
def check_command(
    runtime: Runtime,
    flags: Flags,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name or file of a persona or a world.")],
) -> None:
    """Check a persona for missing texts, overlong texts, and lore that cannot activate."""
    from hermes_cli.application.persona_check import check_persona

    check_persona(runtime, flags, name)


@command(app, "prompt", takes=("user", "lore", "context", "seed"))
def prompt_command(
    runtime: Runtime,
    flags: Flags,
    name: Name,
    messages: Annotated[
        list[str] | None,
        typer.Argument(metavar="MESSAGE", help="Your first and your second message."),
    ] = None,
    like: Annotated[
        str, typer.Option("--like", metavar="PROGRAM", help="Set the program: hermes or sillytavern.")
    ] = "hermes",
) -> None:
    """Print the prompts of the first two turns of a chat.

    No model is needed: tokens are estimated, and the messages are printed as ChatML. A model with another
    prompt format gets the same messages. With --like sillytavern, the prompts are those that SillyTavern
    sends with its presets for ChatML.
    """
    from hermes_cli.application.persona_prompt import print_prompts

    print_prompts(runtime, replace(flags, personas=[name], on_overflow="drop"), like, messages or [])


@command(app, "import", writes="config")
def import_command(
    runtime: Runtime,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Character cards, worlds, and files from other programs."),
    ],
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Set the name of the imported persona.")
    ] = "",
    into: Annotated[
        str,
        typer.Option(
            "--into", metavar="NAME", help="Add SillyTavern's presets and regex scripts to this persona."
        ),
    ] = "",
    force: Force = False,
) -> None:
    """Import personas and worlds from other programs. The type is detected from the content.

    The types are character cards (V1 to V3; JSON, PNG, WebP, JPEG, CHARX), worlds and lorebooks of
    SillyTavern, NovelAI, Agnai and RisuAI, Modelfiles, aichat's roles, llm's templates, characters of
    text-generation-webui and Agnai, LM Studio's presets, system prompts in .txt and .md files, and hermes'
    own TOML. If one of the files is invalid, none is imported.

    --into adds regex scripts and presets of SillyTavern (system prompt, instruct, context) to a persona.
    """
    if into:
        from hermes_cli.application.persona_presets import add_to_persona

        if name or force:
            raise UsageError("--into excludes --as and --force", "omit one of them")
        add_to_persona(runtime, files, into)
        return
    from hermes_cli.application.persona_files import import_files

    import_files(runtime, files, name, force=force)


@command(app, "export")
def export_command(
    runtime: Runtime,
    name: Name,
    format_name: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="Set the format: v1, v2, v3, png, charx, modelfile or toml."
        ),
    ] = "",
    output: Output = "",
    force: Force = False,
) -> None:
    """Export a persona for another program. Fields that hermes does not use are kept.

    Without --format, the file's extension selects the format. For .json, or without a file, it is v2, which
    every program reads.
    """
    from hermes_cli.application.persona_files import export

    export(runtime, name, format_name, output, force=force)
