"""Finds, continues and copies conversations in the store."""

from collections.abc import Sequence

from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.errors import StoreError, UsageError
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.tree import Tree


def named(store: Store, name: str) -> StoredConversation:
    """Return the conversation with this title or id. Raises UsageError if there are none or several."""
    found = store.named(name)
    if not found:
        raise UsageError(f"there is no conversation '{name}'", "'hermes sessions list' shows them")
    if len(found) > 1:
        several = ", ".join(
            f"{conversation.id} ({one_line(conversation.title)})" for conversation in found[:5]
        )
        raise UsageError(f"'{name}' matches several conversations: {several}", "use the number of one")
    return found[0]


def open_elsewhere(conversation: StoredConversation, fork: str = "", hint: str = "") -> StoreError:
    """Return the error for a conversation that is open in another hermes process.

    `fork` is what continues in a copy, by default a command.
    """
    fork = fork or f"'hermes chat -r {conversation.id} --fork'"
    return StoreError(
        f"'{one_line(conversation.title)}' is open in another window",
        hint
        or f"{fork} continues in a copy, 'hermes sessions show {conversation.id} --follow' shows it live",
    )


def one_line(title: str) -> str:
    """Return a title on one line. An imported title may contain line breaks."""
    return " ".join(title.split())


def resume(session: Session, conversation: StoredConversation, members: Sequence[Member] = ()) -> None:
    """Lock a conversation of the session's store, and continue it at its last visible message.

    `members` are opened from the personas of the conversation; by default, they are the session's.

    Raises StoreError if another process has it open.
    """
    store = session.recorder.store
    if store is not None:
        if not store.locks.acquire(conversation.id):
            raise open_elsewhere(conversation)
        store.stop_partial(conversation.id)
    session.resume(conversation, members)


def copy(store: Store, number: int) -> int:
    """Copy a conversation's visible messages and their swipes to a new one that is locked; return its id.

    Another process may have the original open. Raises UsageError if it was deleted.
    """
    original = store.conversation(number)
    if original is None:
        raise UsageError(
            "this conversation was removed in another window", "'hermes sessions list' shows all"
        )
    nodes = store.tree(number)
    tree = Tree.from_nodes(nodes, original.leaf)
    fork = tree.fork()
    ids = {nodes[old.id - 1].id: new.id for old, new in zip(tree.path, fork.path, strict=True)}
    return store.begin(
        original.opening,
        original.persona,
        fork,
        original.setting.renumbered(ids),
        title=f"{original.title} (fork)",
        lock=True,
    )
