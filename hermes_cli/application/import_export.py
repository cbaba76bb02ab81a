"""Export and import of conversations, for `hermes sessions export` and `import`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hermes_cli.application.conversations import find_conversation, open_store, open_store_to_read
from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import FormatError, PersonaError
from hermes_cli.formats import files, registry
from hermes_cli.formats.transcript import Transcript
from hermes_cli.private_files import write_private
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store.duplicates import Duplicates
from hermes_cli.store.imports import content_hash
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.tree import Node

SHOWN_KNOWN = 10
"""The number of conversations imported before that are listed one by one."""


def export_conversations(
    runtime: Runtime, names: Sequence[str], format_name: str | None, output: str, *, force: bool
) -> None:
    """Write the named conversations, or all if no name is given, to a file or standard output."""
    kind = registry.named(format_name) if format_name else registry.by_ending(output) or registry.MARKDOWN
    store, terminal = open_store_to_read(runtime), runtime.terminal
    chosen = [find_conversation(store, name) for name in names] if names else store.conversations()
    transcripts = [
        replace(
            Transcript.of(conversation, store.tree(conversation.id)),
            character=_display_name(runtime, conversation.persona),
        )
        for conversation in {conversation.id: conversation for conversation in chosen}.values()
    ]
    if not names and kind.leaves_out:  # such a format has only the visible turns
        visible = [transcript for transcript in transcripts if transcript.tree.path]
        if hidden := len(transcripts) - len(visible):
            count = pluralize(hidden, "conversation")
            terminal.notice(f"left out {count} without a visible turn; json contains the whole tree")
        transcripts = visible
    text = registry.write(kind, transcripts)
    if output in {"", "-"}:
        terminal.write(text)
        if remark := registry.hidden_remark(kind, transcripts):
            terminal.notice(remark)
        return
    path = files.place(output, transcripts[0].conversation.title, kind.ending)
    write_private(path, text.encode(), replace=force, hint=files.IN_THE_WAY)
    count = pluralize(len(transcripts), "conversation")
    terminal.notice(f"{count} written to {path}: {registry.remark(kind, transcripts)}")


def _display_name(runtime: Runtime, key: str) -> str:
    """Return the display name of a persona, or an empty string if it no longer exists."""
    try:
        return runtime.persona(key).name if key else ""
    except PersonaError:
        return ""


def import_conversations(
    runtime: Runtime, names: Sequence[str], format_name: str | None, *, again: bool = False
) -> None:
    """Store the conversations in the files, and print the new numbers and titles.

    Conversations that the store or an earlier file already has are left out, unless `again` is true.

    Raises UsageError for a missing file and FormatError for an invalid one. In both cases, nothing is stored.
    """
    terminal, given_format = runtime.terminal, registry.named(format_name) if format_name else None
    store, rows, known = open_store(runtime), list[tuple[str, str]](), list[str]()
    repeated = _Repeated(store)

    def trees() -> Iterator[tuple[StoredConversation, Sequence[Node]]]:
        for name in names:  # one file after the other, to limit the memory
            for transcript in _read(runtime, name, given_format):
                conversation, nodes = transcript.conversation, transcript.tree.nodes
                if not again and (reason := repeated.reason(transcript)):
                    known.append(f"{reason}: {sanitize_line(conversation.title)}")
                    continue
                rows.append((pluralize(len(transcript.tree.path), "message"), conversation.title))
                yield conversation, nodes

    numbers = store.adopt(trees())
    if numbers:
        terminal.write_rows(columns([(str(number), *row) for number, row in zip(numbers, rows, strict=True)]))
    for line in known[:SHOWN_KNOWN]:
        terminal.notice(line)
    if len(known) > SHOWN_KNOWN:
        terminal.notice(f"left out as well: {len(known) - SHOWN_KNOWN:,} more")
    hint = "; --again imports the others once more" if known else ""
    terminal.notice(f"{pluralize(len(numbers), 'conversation')} imported{hint}")


class _Repeated:
    """Finds the conversations of an import that the store or an earlier file already has."""

    def __init__(self, store: Store) -> None:
        self._store, self._duplicates, self._hashes = store, Duplicates(store), set[str]()

    def reason(self, transcript: Transcript) -> str:
        """Return why a conversation is left out, or an empty string."""
        conversation, nodes = transcript.conversation, transcript.tree.nodes
        key = content_hash(conversation, nodes)
        if (number := self._store.imported_as(key)) is not None:
            return f"already imported as {number}"
        if (number := self._duplicates.holder(conversation, transcript.tree.path, nodes)) is not None:
            return f"already saved as {number}"
        is_known = key in self._hashes
        self._hashes.add(key)
        return "twice in this import" if is_known else ""


def _read(runtime: Runtime, name: str, given_format: registry.ConversationFormat | None) -> list[Transcript]:
    """Read a file of conversations, and print its format and remarks. Raises UsageError and FormatError."""
    terminal, source = runtime.terminal, "standard input" if name == "-" else name
    data = terminal.stdin.read(registry.MAX_BYTES + 1) if name == "-" else files.read_bytes(Path(name))
    try:
        transcripts, kind, reason = registry.read(data, source, given_format)
    except FormatError as error:
        hint = f"nothing was imported; {error.hint}" if error.hint else "nothing was imported"
        raise FormatError(error.message, hint=hint) from None
    terminal.notice(f"{source}: {kind.name}, {reason}")
    for remark in (remark for transcript in transcripts for remark in transcript.remarks):
        terminal.notice(f"{source}: {remark}")
    return transcripts
