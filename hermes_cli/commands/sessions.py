"""`hermes sessions`: the conversations that are kept."""

from typing import TYPE_CHECKING, Annotated

import typer

from hermes_cli.commands.runtime import Runtime
from hermes_cli.errors import UsageError
from hermes_cli.formats.table import FORMATS
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
    everything: Annotated[bool, typer.Option("--all", help="Also those before the last 30.")] = False,
) -> None:
    """List the conversations, the one that was used last first."""
    from hermes_cli.commands.keeping import open_store  # noqa: PLC0415 - each verb pays for what it uses

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
        bool, typer.Option("--follow", help="Go on showing it while another window holds it.")
    ] = False,
) -> None:
    """Show a conversation as it stands."""
    from hermes_cli.commands import follow as reading  # noqa: PLC0415 - see above
    from hermes_cli.commands.keeping import find, open_store  # noqa: PLC0415

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
    context: typer.Context, words: Annotated[list[str], typer.Argument(help="Words to look for.")]
) -> None:
    """Find the messages that hold all of the words."""
    from hermes_cli.commands.keeping import open_store  # noqa: PLC0415 - see above

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
    """Give a conversation a title of your own."""
    from hermes_cli.commands.keeping import find, open_store  # noqa: PLC0415 - see above

    runtime: Runtime = context.obj
    store = open_store(runtime)
    store.rename(find(store, name).id, title)


@app.command("rm")
def rm(
    context: typer.Context, names: Annotated[list[str], typer.Argument(help="Numbers or titles.")]
) -> None:
    """Delete conversations, so that no word of them is left in the file."""
    from hermes_cli.commands.upkeep import remove  # noqa: PLC0415 - see above

    remove(context.obj, names)


@app.command("prune")
def prune_command(
    context: typer.Context,
    days: Annotated[
        int, typer.Option("--days", min=1, metavar="N", help="Not used for so many days.", show_default=False)
    ],
    named: Annotated[bool, typer.Option("--named", help="Also those with a title of your own.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which these are.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the conversations that were not used for a while."""
    from hermes_cli.commands.upkeep import prune  # noqa: PLC0415 - see above

    prune(context.obj, days, named=named, dry_run=dry_run, sure=sure)


@app.command("check")
def check_command(
    context: typer.Context,
    rescue: Annotated[
        bool, typer.Option("--rescue", help="Put what can be read of a damaged file into a new one.")
    ] = False,
) -> None:
    """Look whether the file is whole."""
    from hermes_cli.commands.upkeep import check  # noqa: PLC0415 - see above

    check(context.obj, rescue=rescue)


@app.command("export")
def export_command(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Numbers or titles.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every conversation.")] = False,
    format_name: FormatName = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="A file, or a folder; else standard output.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write conversations in a format of hermes' or of another program's.

    Without --format the file's ending says which; without a file it is Markdown.
    """
    from hermes_cli.commands.exchange import export_conversations  # noqa: PLC0415 - see above

    if bool(names) == everything:
        raise UsageError("name conversations, or say --all", "'hermes sessions list' shows them")
    export_conversations(context.obj, names or [], format_name, output, force=force)


@app.command("import")
def import_command(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files; - is standard input.")],
    format_name: FormatName = None,
) -> None:
    """Read conversations that hermes or another program wrote: all of them, or, at a mistake, none.

    Without --format the file's content says which it is.
    """
    from hermes_cli.commands.exchange import import_conversations  # noqa: PLC0415 - see above

    import_conversations(context.obj, files, format_name)
