"""From the flags to what is kept: the store, the conversation to go on with, or nothing at all."""

from hermes_cli.chat.keeper import Keeper
from hermes_cli.commands.flags import Flags
from hermes_cli.commands.runtime import Runtime
from hermes_cli.errors import PersonaError, StoreError, UsageError
from hermes_cli.personas.persona import Persona
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store


def open_store(runtime: Runtime) -> Store:
    """Return the store of this home. Raises StoreError."""
    store = Store(runtime.paths.conversations)
    runtime.at_exit.callback(store.close)
    return store


def open_keeper(runtime: Runtime, *, keep: bool) -> Keeper:
    """Return the keeper of a conversation. Where nothing can be kept that is said, and the chat goes on."""

    def failed(error: StoreError) -> None:
        runtime.terminal.error(f"from here on nothing is kept: {error.message}")

    if not keep:
        return Keeper(Store())
    try:
        return Keeper(open_store(runtime), failed)
    except StoreError as error:
        runtime.terminal.error(f"nothing of this conversation is kept: {error.message}")
        if error.hint:
            runtime.terminal.notice(f"  {error.hint}")
        return Keeper(Store())


def earlier_conversation(keeper: Keeper, flags: Flags) -> StoredConversation | None:
    """Return the conversation that the flags want to go on with, claimed for this process.

    Raises UsageError where there is none, and StoreError where another window has it.
    """
    if not flags.continue_last and flags.resume is None:
        return None
    if keeper.store is None or keeper.store.file is None:
        raise UsageError("there is nothing to go on with: nothing is kept", "leave --no-log out")
    found = find(keeper.store, flags.resume)
    if not keeper.store.claims.take(found.id):
        raise StoreError(
            f"'{found.title}' is open in another window",
            f"'hermes sessions show {found.id}' shows it as far as it has come",
        )
    return found


def find(store: Store, name: str | None) -> StoredConversation:
    """Return the conversation of that name or id; without a name the last one. Raises UsageError."""
    if name is None:
        last = store.conversations(1)
        if not last:
            raise UsageError("there is no conversation yet", "'hermes chat' begins one")
        return last[0]
    found = store.named(name)
    if not found:
        raise UsageError(f"there is no conversation '{name}'", "'hermes sessions list' shows them")
    if len(found) > 1:
        several = ", ".join(f"{one.id} ({one.title})" for one in found[:5])
        raise UsageError(f"'{name}' may mean several: {several}", "name one by its number")
    return found[0]


def persona_of(runtime: Runtime, flags: Flags, earlier: StoredConversation | None) -> Persona:
    """Return the persona that the flags name, or else the one of the earlier conversation."""
    if flags.persona is None and earlier is not None and earlier.persona:
        try:
            return runtime.persona(earlier.persona)
        except PersonaError:
            runtime.terminal.notice(f"there is no persona '{sanitize_line(earlier.persona)}' any more")
    return runtime.persona(flags.persona)
