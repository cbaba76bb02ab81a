"""`hermes sessions`: list, show, search, rename, remove, check, export and import conversations."""

from collections.abc import Sequence
from typing import Annotated

import typer

from hermes_cli.application import conversations, follow_conversation, import_export
from hermes_cli.application.conversations import find_conversation, open_store, open_store_to_read
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.input_text import check_text
from hermes_cli.cli.command import Force, Output, command, new_app
from hermes_cli.errors import UsageError
from hermes_cli.formats.registry import FORMATS
from hermes_cli.screen.columns import columns, pluralize, when
from hermes_cli.screen.sanitize import sanitize_line

app = new_app(
    "List, show, search, rename, remove, check, export and import conversations.",
    examples=(
        "hermes sessions list --all",
        'hermes sessions search "prime number"',
        "hermes sessions export 12 -o talk.md",
    ),
)

SHOWN = 30
Name = Annotated[str, typer.Argument(metavar="NAME", help="A conversation's number, or its title.")]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=" ".join(f"{file_format.name}: {file_format.help}" for file_format in FORMATS),
    ),
]


@command(app, "list")
def list_sessions(
    runtime: Runtime,
    everything: Annotated[bool, typer.Option("--all", help="List all, not only the last 30.")] = False,
) -> None:
    """List the conversations, most recently used first."""
    rows = [
        (
            str(conversation.id),
            when(conversation.updated),
            pluralize(conversation.message_count, "message"),
            conversation.persona,
            conversation.model,
            conversation.title,
        )
        for conversation in open_store_to_read(runtime).conversations(-1 if everything else SHOWN)
    ]
    _print_rows(runtime, rows, "there is no conversation yet; 'hermes chat' starts one")


def _print_rows(runtime: Runtime, rows: Sequence[Sequence[str]], notice: str) -> None:
    """Print the rows in columns, or the notice if there are none."""
    if rows:
        runtime.terminal.write_rows(columns(rows))
    else:
        runtime.terminal.notice(notice)


@command(app, "show")
def show(
    runtime: Runtime,
    name: Name,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print new messages while another window continues it.")
    ] = False,
) -> None:
    """Print a conversation."""
    store = open_store_to_read(runtime)
    conversation = find_conversation(store, name)
    title = sanitize_line(conversation.title)
    runtime.terminal.notice(f"{conversation.id} · {when(conversation.created)} · {title}")
    if follow:
        follow_conversation.follow(runtime, store, conversation.id)
    else:
        runtime.terminal.write(follow_conversation.conversation_text(store.path(conversation.leaf)))


@command(app, "search")
def search(
    runtime: Runtime,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="Words to search for.")],
) -> None:
    """List the messages that contain all of the words."""
    text = check_text(" ".join(words), "the search")
    if not text.strip():
        raise UsageError("the search has no words", "give one, for example: hermes sessions search lamp")
    rows = [
        (str(hit.conversation), when(hit.created), hit.model or hit.role.value, hit.title, hit.excerpt)
        for hit in open_store_to_read(runtime).search(text)
    ]
    _print_rows(runtime, rows, "no message contains all of these words")


@command(app, "rename", writes="data")
def rename(
    runtime: Runtime,
    name: Name,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="The new title.")],
) -> None:
    """Set the title of a conversation."""
    store = open_store(runtime)
    store.rename(find_conversation(store, name).id, check_text(title, "the title"))


@command(app, "rm", writes="data")
def rm(
    runtime: Runtime,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Numbers or titles.")],
) -> None:
    """Delete conversations permanently."""
    conversations.remove(runtime, names)


@command(app, "prune", writes="data")
def prune(
    runtime: Runtime,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, metavar="N", help="Delete conversations not used for N days.", show_default=False
        ),
    ],
    named: Annotated[
        bool, typer.Option("--named", help="Include conversations whose title you set.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the conversations.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
) -> None:
    """Delete conversations that were not used recently."""
    conversations.prune(runtime, days, named=named, dry_run=dry_run, sure=sure)


@command(app, "check")
def check(
    runtime: Runtime,
    rescue: Annotated[
        bool, typer.Option("--rescue", help="Copy the readable data to a new database.")
    ] = False,
) -> None:
    """Check the database for damage."""
    conversations.check(runtime, rescue=rescue)


@command(app, "export")
def export_command(
    runtime: Runtime,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Numbers or titles.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export every conversation.")] = False,
    format_name: FormatName = None,
    output: Output = "",
    force: Force = False,
) -> None:
    """Export conversations in a format of hermes or another program.

    Without --format, the file's extension selects the format. Without a file, the format is Markdown.
    """
    if bool(names) == everything:
        raise UsageError("name the conversations, or use --all", "'hermes sessions list' shows them")
    import_export.export_conversations(runtime, names or [], format_name, output, force=force)


@command(app, "import", writes="data")
def import_command(
    runtime: Runtime,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files; - is standard input.")],
    format_name: FormatName = None,
    again: Annotated[
        bool, typer.Option("--again", help="Import conversations that are stored already, too.")
    ] = False,
) -> None:
    """Import conversations from hermes or another program. If one of the files is invalid, none is imported.

    Without --format, the format is detected from the content. A conversation that was imported before is left
    out, also if it was continued or renamed since.
    """
    import_export.import_conversations(runtime, files, format_name, again=again)
