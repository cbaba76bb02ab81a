"""The conversation store for `hermes sessions`: opens it, and finds, deletes and checks conversations."""

import time
from collections.abc import Sequence
from pathlib import Path

from hermes_cli.application.runtime import Runtime
from hermes_cli.chat import saved_conversations
from hermes_cli.config import is_writable
from hermes_cli.errors import StoreDamaged, UsageError
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.store import input_history
from hermes_cli.store.database import explained
from hermes_cli.store.locks import LOCKS_FOLDER
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.untrusted.source import is_file

DAY_S = 86_400


def open_store(runtime: Runtime) -> Store:
    """Open the store, and close it at exit. Raises StoreError.

    If the database is damaged, recover the readable data into a new one, and print a message.
    """
    file = runtime.paths.conversations
    if _was_emptied(file):
        runtime.terminal.error(
            f"{file} is empty, but conversations were saved in it; restore it from a backup"
        )
    try:
        store = Store(file)
    except StoreDamaged as error:
        _recover(runtime, error.message)
        store = Store(file)
    runtime.at_exit.callback(store.close)
    return store


def open_store_to_read(runtime: Runtime) -> Store:
    """Open the store for a command that only reads. It may be on a read-only file system."""
    file = runtime.paths.conversations
    with explained(file):
        can_only_read = is_file(file) and not (is_writable(file.parent) and is_writable(file))
    if not can_only_read:
        return open_store(runtime)
    store = Store(file, read_only=True)
    runtime.at_exit.callback(store.close)
    return store


def _was_emptied(file: Path) -> bool:
    """Return whether the file is empty although lock files show that it contained conversations."""
    with explained(file):
        return file.exists() and not file.stat().st_size and any(file.with_name(LOCKS_FOLDER).glob("*.lock"))


def _recover(runtime: Runtime, problem: str, *, even_if_it_opens: bool = False) -> None:
    """Replace a damaged database with a new one that holds the readable data. Raises StoreError."""
    from hermes_cli.store.rescue import rescue

    saved = rescue(runtime.paths.conversations, even_if_it_opens=even_if_it_opens)
    if saved is not None:
        messages, count = pluralize(saved.messages, "message"), pluralize(saved.conversations, "conversation")
        runtime.terminal.error(
            problem, f"  recovered {messages} in {count}; the damaged file is now {saved.aside}"
        )


def find_conversation(store: Store, name: str | None) -> StoredConversation:
    """Return the conversation with that title or id. Raises UsageError.

    Without a name, return the newest one with a visible message: in others, the first turn was withdrawn.
    """
    if name is not None:
        return saved_conversations.named(store, name)
    recent = store.conversations(1, visible=True) or store.conversations(1)
    if not recent:
        raise UsageError("there is no conversation yet", "'hermes chat' starts one")
    return recent[0]


def remove(runtime: Runtime, names: Sequence[str]) -> None:
    """Delete the named conversations. Raises UsageError if one does not exist."""
    store = open_store(runtime)
    _delete(runtime, store, [find_conversation(store, name) for name in names])


def prune(runtime: Runtime, days: int, *, named: bool, dry_run: bool, sure: bool) -> None:
    """Delete conversations not used for `days` days, but renamed ones only if `named` is true.

    Ask for confirmation unless `sure` is true. Raises UsageError if there is no terminal to ask on.
    """
    store, terminal = open_store(runtime), runtime.terminal
    cutoff = time.time() - days * DAY_S
    old = [
        conversation
        for conversation in store.conversations()
        if conversation.updated < cutoff and (named or not conversation.is_named)
    ]
    # Skip conversations that another process has open.
    old = [conversation for conversation in old if store.locks.acquire(conversation.id)]
    if not old:
        terminal.notice(f"no conversation is older than {pluralize(days, 'day')}")
        return
    rows = [
        (str(conversation.id), pluralize(conversation.message_count, "message"), conversation.title)
        for conversation in old
    ]
    terminal.write_rows(columns(rows))
    if dry_run:
        return
    count = pluralize(len(old), "conversation")
    if not sure:
        if not (terminal.stdin_is_tty and terminal.stderr_is_tty):
            raise UsageError(f"{count} would be deleted", "confirm with --yes")
        if terminal.ask(f"Delete {count}? [y/N] ").strip().lower() not in {"y", "yes"}:
            terminal.notice("nothing was deleted")
            return
    _delete(runtime, store, old)


def _delete(runtime: Runtime, store: Store, conversations: Sequence[StoredConversation]) -> None:
    """Delete conversations, and remove their lines from the input history."""
    for conversation in conversations:
        if not store.locks.acquire(conversation.id):
            raise saved_conversations.open_elsewhere(conversation, hint="close it there first")
    lines = {
        line
        for conversation in conversations
        for line in input_history.lines_of(conversation, store.tree(conversation.id))
    }
    count = store.remove([conversation.id for conversation in conversations])
    input_history.forget(runtime.paths.history, lines)
    runtime.terminal.notice(f"deleted {pluralize(count, 'conversation')}")
    from hermes_cli.store.rescue import kept_aside

    for path in kept_aside(runtime.paths.conversations):
        runtime.terminal.notice(f"{path}, a damaged database, may still contain deleted text; delete it too")


def check(runtime: Runtime, *, rescue: bool) -> None:
    """Check the database. If it is damaged, raise StoreDamaged or, with `rescue`, recover the data."""
    store = open_store(runtime)
    file = runtime.paths.conversations
    try:
        if unfinished := store.remove_unfinished():
            runtime.terminal.notice(
                f"removed {pluralize(unfinished, 'conversation')} of an unfinished import"
            )
        problems = store.check()
    except StoreDamaged as error:
        problems = [error.message.removeprefix(f"{file} is damaged: ")]
    if not problems:
        messages = pluralize(store.message_count(), "message")
        count = pluralize(len(store.conversations()), "conversation")
        runtime.terminal.notice(f"no damage found in {file}: {messages} in {count}")
        return
    if not rescue:
        for problem in problems:
            runtime.terminal.notice(f"  {problem}")
        raise StoreDamaged(f"{file} is damaged", "'hermes sessions check --rescue' recovers what can be read")
    store.close()
    _recover(runtime, f"{file} is damaged: {problems[0]}", even_if_it_opens=True)
