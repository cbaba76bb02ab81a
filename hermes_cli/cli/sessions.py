"""`hermes sessions`: list, show, search, rename, remove, check, export and import conversations."""

from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import UsageError
from hermes_cli.formats.registry import FORMATS
from hermes_cli.screen.columns import columns, counted, when
from hermes_cli.screen.sanitize import sanitize_line

if TYPE_CHECKING:
    from hermes_cli.store.records import StoredConversation

app = typer.Typer(
    help="List, show, search, rename, remove, check, export and import conversations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

SHOWN = 30
Name = Annotated[str, typer.Argument(help="A conversation's number, or its title.")]
FormatName = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help=" ".join(f"{one.name}: {one.help}" for one in FORMATS)),
]


@app.command("list")
def list_sessions(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="List more than the last 30.")] = False,
) -> None:
    """List the conversations, most recently used first."""
    from hermes_cli.application.open_conversation import open_store  # noqa: PLC0415 - each command imports only what it uses

    runtime: Runtime = context.obj
    found = open_store(runtime).conversations(-1 if everything else SHOWN)
    if found:
        runtime.terminal.write(columns([_row(one) for one in found]) + "\n")
    else:
        runtime.terminal.notice("there is no conversation yet; 'hermes chat' begins one")


def _row(one: "StoredConversation") -> tuple[str, ...]:
    return (str(one.id), when(one.updated), counted(one.count, "message"), one.persona, one.model, one.title)


@app.command("show")
def show(
    context: typer.Context,
    name: Name,
    follow: Annotated[
        bool, typer.Option("--follow", help="Follow the conversation while another window continues it.")
    ] = False,
) -> None:
    """Print a conversation."""
    from hermes_cli.application import follow_conversation as reading  # noqa: PLC0415 - see above
    from hermes_cli.application.open_conversation import find, open_store  # noqa: PLC0415

    runtime: Runtime = context.obj
    store = open_store(runtime)
    conversation = find(store, name)
    title = sanitize_line(conversation.title)
    runtime.terminal.notice(f"{conversation.id} · {when(conversation.created)} · {title}")
    if follow:
        reading.follow(runtime, store, conversation.id)
    else:
        runtime.terminal.write(reading.whole(store.path(conversation.leaf)))


@app.command("search")
def search(
    context: typer.Context, words: Annotated[list[str], typer.Argument(help="Words to search for.")]
) -> None:
    """List the messages that contain all of the words."""
    from hermes_cli.application.open_conversation import open_store  # noqa: PLC0415 - see above

    runtime: Runtime = context.obj
    hits = open_store(runtime).search(" ".join(words))
    rows = [
        (str(hit.conversation), when(hit.created), hit.model or hit.role.value, hit.title, hit.excerpt)
        for hit in hits
    ]
    if rows:
        runtime.terminal.write(columns(rows) + "\n")
    else:
        runtime.terminal.notice("nothing was found")


@app.command("rename")
def rename(
    context: typer.Context, name: Name, title: Annotated[str, typer.Argument(help="The new title.")]
) -> None:
    """Set the title of a conversation."""
    from hermes_cli.application.open_conversation import find, open_store  # noqa: PLC0415 - see above

    runtime: Runtime = context.obj
    store = open_store(runtime)
    store.rename(find(store, name).id, title)


@app.command("rm")
def rm(
    context: typer.Context, names: Annotated[list[str], typer.Argument(help="Numbers or titles.")]
) -> None:
    """Delete conversations permanently."""
    from hermes_cli.application.maintenance import remove  # noqa: PLC0415 - see above

    remove(context.obj, names)


@app.command("prune")
def prune_command(
    context: typer.Context,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, metavar="N", help="Delete what was not used for N days.", show_default=False
        ),
    ],
    named: Annotated[
        bool, typer.Option("--named", help="Include conversations whose title you set.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
) -> None:
    """Delete conversations that were not used recently."""
    from hermes_cli.application.maintenance import prune  # noqa: PLC0415 - see above

    prune(context.obj, days, named=named, dry_run=dry_run, sure=sure)


@app.command("check")
def check_command(
    context: typer.Context,
    rescue: Annotated[
        bool, typer.Option("--rescue", help="Recover what can be read into a new database.")
    ] = False,
) -> None:
    """Check the database for damage."""
    from hermes_cli.application.maintenance import check  # noqa: PLC0415 - see above

    check(context.obj, rescue=rescue)


@app.command("export")
def export_command(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Numbers or titles.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export every conversation.")] = False,
    format_name: FormatName = None,
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write to this file or folder instead of standard output."
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Export conversations, in the format of hermes or of another program.

    Without --format, the file's extension decides; without a file, the format is Markdown.
    """
    from hermes_cli.application.import_export import export_conversations  # noqa: PLC0415 - see above

    if bool(names) == everything:
        raise UsageError("name the conversations, or use --all", "'hermes sessions list' shows them")
    export_conversations(context.obj, names or [], format_name, output, force=force)


@app.command("import")
def import_command(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files; - is standard input.")],
    format_name: FormatName = None,
) -> None:
    """Import conversations of hermes or another program: all of them, or none if a file has a mistake.

    Without --format, the format is detected from the content.
    """
    from hermes_cli.application.import_export import import_conversations  # noqa: PLC0415 - see above

    import_conversations(context.obj, files, format_name)
