"""Opens the store and the conversation to continue, as the flags request."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hermes_cli.application.follow_conversation import follow
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat import saved_conversations
from hermes_cli.chat.recorder import Recorder
from hermes_cli.errors import StoreDamaged, StoreError, UsageError
from hermes_cli.personas.persona import Persona
from hermes_cli.screen.columns import counted
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store.locks import LOCKS_FOLDER
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store

if TYPE_CHECKING:  # it imports the model modules, which `hermes sessions` does not need
    from hermes_cli.application.flags import Flags


def open_store(runtime: Runtime) -> Store:
    """Open the store, and close it at exit. Raises StoreError.

    If the database is damaged, recover the readable data into a new one, and print a message.
    """
    file = runtime.paths.conversations
    if _was_emptied(file):
        runtime.terminal.error(f"{file} is empty, though conversations were kept in it; is there a copy?")
    try:
        store = Store(file)
    except StoreDamaged as error:
        save_what_can_be_read(runtime, error.message)
        store = Store(file)
    runtime.at_exit.callback(store.close)
    return store


def _was_emptied(file: Path) -> bool:
    """Return whether a database file is empty although lock files show that it had conversations."""
    return file.exists() and not file.stat().st_size and any(file.with_name(LOCKS_FOLDER).glob("*.lock"))


def save_what_can_be_read(runtime: Runtime, problem: str, *, even_if_it_opens: bool = False) -> None:
    """Replace a damaged database by a new one with the readable data. Raises StoreError."""
    from hermes_cli.store.rescue import rescue  # noqa: PLC0415 - only a damaged database needs it

    file = runtime.paths.conversations
    saved = rescue(file, even_if_it_opens=even_if_it_opens)
    if saved is not None:
        runtime.terminal.error(problem)
        messages, count = counted(saved.messages, "message"), counted(saved.conversations, "conversation")
        runtime.terminal.notice(f"  saved: {messages} in {count}; the damaged file is kept as {saved.aside}")


def open_recorder(runtime: Runtime, *, keep: bool, goes_on: bool) -> Recorder:
    """Return the recorder of a conversation. If the store cannot be opened, print why and save nothing.

    Raises StoreError instead if the chat `goes_on` with a conversation from the store.
    """

    def failed(error: StoreError) -> None:
        runtime.terminal.error(f"from here on nothing is kept: {error.message}")
        if error.hint:
            runtime.terminal.notice(f"  {error.hint}")

    store = None
    if keep:
        try:
            store = open_store(runtime)
        except StoreError as error:
            if goes_on:
                raise
            runtime.terminal.error(f"nothing of this conversation is kept: {error.message}")
            if error.hint:
                runtime.terminal.notice(f"  {error.hint}")
    recorder = Recorder(store or Store(), failed)
    runtime.at_exit.callback(recorder.close)
    return recorder


def earlier_conversation(runtime: Runtime, recorder: Recorder, flags: "Flags") -> StoredConversation | None:
    """Claim and return the conversation that the flags request, or a copy of it; None without such flags.

    If another process has it open, ask the user. Raises UsageError if there is no such conversation,
    StoreError if it cannot be claimed, and typer.Exit after the user chose to read along.
    """
    if not flags.continue_last and flags.resume is None:
        if flags.fork:
            raise UsageError(
                "--fork copies an earlier conversation", "name it with -r, or take the last with -c"
            )
        return None
    store = recorder.store
    if store is None or store.file is None:
        raise UsageError("there is nothing to go on with: nothing is kept", "leave --no-log out")
    found = find(store, flags.resume)
    if not flags.fork and store.locks.take(found.id):
        return store.conversation(found.id) or found  # may have grown before the claim
    if flags.fork or _wants_a_copy(runtime, store, found):
        return store.conversation(saved_conversations.copy(store, found.id)) or found
    raise saved_conversations.open_elsewhere(found)


def _wants_a_copy(runtime: Runtime, store: Store, found: StoredConversation) -> bool:
    """Ask whether to copy a conversation that another process has open, or read along and exit."""
    terminal = runtime.terminal
    if not (terminal.stdin_is_tty and terminal.stderr_is_tty):
        return False
    terminal.notice(f"'{sanitize_line(found.title)}' is open in another window.")
    answer = terminal.ask("(f)ork it and go on in the copy, or (r)ead along? ").strip().lower()
    if answer.startswith("r"):
        follow(runtime, store, found.id)
        raise typer.Exit
    return answer.startswith("f")


def find(store: Store, name: str | None) -> StoredConversation:
    """Return the conversation with that title or id, or without one the last. Raises UsageError."""
    if name is None:
        last = store.conversations(1)
        if not last:
            raise UsageError("there is no conversation yet", "'hermes chat' begins one")
        return last[0]
    return saved_conversations.named(store, name)


def persona_of(runtime: Runtime, flags: "Flags", earlier: StoredConversation | None) -> Persona:
    """Return the persona that the flags name, or else that of the earlier conversation."""
    if flags.persona is None and earlier is not None and earlier.persona:
        if any(row.key == earlier.persona and row.persona for row in runtime.personas()):  # never a file
            return runtime.persona(earlier.persona)
        runtime.terminal.notice(f"there is no persona '{sanitize_line(earlier.persona)}' any more")
    return runtime.persona(flags.persona)
