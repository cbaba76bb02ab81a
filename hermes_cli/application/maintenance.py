"""`hermes sessions rm`, `prune` and `check`: delete conversations, and check their database."""

import time
from collections.abc import Sequence

from hermes_cli.application.open_conversation import find, open_store, save_what_can_be_read
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat import saved_conversations
from hermes_cli.errors import StoreDamaged, UsageError
from hermes_cli.screen.columns import columns, counted
from hermes_cli.store import input_history
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.rescue import kept_aside
from hermes_cli.store.store import Store

DAY_S = 86_400


def remove(runtime: Runtime, names: Sequence[str]) -> None:
    """Delete the named conversations. Raises UsageError if one does not exist."""
    store = open_store(runtime)
    _delete(runtime, store, [find(store, name) for name in names])


def prune(runtime: Runtime, days: int, *, named: bool, dry_run: bool, sure: bool) -> None:
    """Delete the conversations that were not used for `days` days; with `named`, also renamed ones.

    Ask for confirmation unless `sure`. Raises UsageError if it is needed and there is no terminal.
    """
    store, terminal = open_store(runtime), runtime.terminal
    before = time.time() - days * DAY_S
    old = [one for one in store.conversations() if one.updated < before and (named or not one.is_named)]
    old = [one for one in old if store.locks.take(one.id)]  # skip those that another process has open
    if not old:
        terminal.notice(f"no conversation is older than {days:,} days")
        return
    terminal.write(columns([(str(one.id), counted(one.count, "message"), one.title) for one in old]) + "\n")
    if dry_run:
        return
    count = counted(len(old), "conversation")
    if not sure:
        if not (terminal.stdin_is_tty and terminal.stderr_is_tty):
            raise UsageError(f"{count} would be deleted", "--yes deletes them")
        if terminal.ask(f"Delete {count}? [y/N] ").strip().lower() not in {"y", "yes"}:
            terminal.notice("nothing is deleted")
            return
    _delete(runtime, store, old)


def _delete(runtime: Runtime, store: Store, conversations: Sequence[StoredConversation]) -> None:
    """Delete conversations, and the lines that were typed in them from the input history."""
    for one in conversations:
        if not store.locks.take(one.id):
            raise saved_conversations.open_elsewhere(one)
    gone = {line for one in conversations for line in input_history.lines_of(one, store.tree(one.id))}
    count = store.remove([one.id for one in conversations])
    input_history.forget(runtime.paths.history, gone)
    runtime.terminal.notice(f"{counted(count, 'conversation')} gone")
    for path in kept_aside(runtime.paths.conversations):
        runtime.terminal.notice(f"{path} was damaged and still holds what could be read then; delete it, too")


def check(runtime: Runtime, *, rescue: bool) -> None:
    """Print the problems of the database. Raises StoreDamaged if it is damaged, unless `rescue`."""
    store = open_store(runtime)
    file = runtime.paths.conversations
    try:
        problems = store.check()
    except StoreDamaged as error:
        problems = [error.message.removeprefix(f"{file} is damaged: ")]
    if not problems:
        found = store.conversations()
        messages = counted(sum(one.count for one in found), "message")
        runtime.terminal.notice(f"{file} is whole: {messages} in {counted(len(found), 'conversation')}")
        return
    if not rescue:
        for problem in problems:
            runtime.terminal.notice(f"  {problem}")
        raise StoreDamaged(f"{file} is damaged", "'hermes sessions check --rescue' recovers what can be read")
    store.close()
    save_what_can_be_read(runtime, f"{file} is damaged: {problems[0]}", even_if_it_opens=True)
