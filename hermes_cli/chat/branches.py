"""Navigation in the tree of a conversation: undo, swipe, go to, fork, resume.

None of these operations deletes a message.
"""

from dataclasses import replace

from hermes_cli.chat import saved_settings
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.errors import StoreError, UsageError
from hermes_cli.messages import Conversation, Message, Opening, Role
from hermes_cli.store.records import StoredConversation, StoredMessage
from hermes_cli.store.store import Store


def store_of(session: Session) -> Store:
    """Return the store of a session. Raises UsageError if saving has stopped after an error."""
    if session.recorder.store is None:
        raise UsageError("nothing is kept any more in this run, so there is no tree to move in")
    return session.recorder.store


def named(store: Store, name: str) -> StoredConversation:
    """Return the conversation with this name or id. Raises UsageError if there is none, or several."""
    found = store.named(name)
    if not found:
        raise UsageError(f"there is no conversation '{name}'", "'hermes sessions list' shows them")
    if len(found) > 1:
        several = ", ".join(f"{one.id} ({one_line(one.title)})" for one in found[:5])
        raise UsageError(f"'{name}' may mean several: {several}", "name one by its number")
    return found[0]


def open_elsewhere(conversation: StoredConversation) -> StoreError:
    """Return the error for a conversation that is open in another hermes process."""
    return StoreError(
        f"'{one_line(conversation.title)}' is open in another window",
        f"'hermes chat -r {conversation.id} --fork' goes on in a copy, "
        f"'hermes sessions show {conversation.id} --follow' reads along",
    )


def one_line(title: str) -> str:
    """Return a title on one line. An imported title may contain line breaks."""
    return " ".join(title.split())


def undo(session: Session, count: int) -> None:
    """Undo the user's last `count` turns and their answers.

    Raises UsageError if there are fewer turns.
    """
    session.cut(asked_at(session, count))


def asked_at(session: Session, count: int) -> int:
    """Return the index of the user's `count`th turn from the end. Raises UsageError if there are fewer."""
    asked = [
        place
        for place, message in enumerate(session.conversation)
        if message.role is Role.USER and place >= session.root
    ]
    if not asked:
        raise UsageError("you have not said anything yet", "ask something first")
    if not 1 <= count <= len(asked):
        turns = "turn" if len(asked) == 1 else "turns"
        raise UsageError(f"you have said {len(asked)} {turns} here; there is no {count} from the end")
    return asked[-count]


def alternatives(session: Session) -> tuple[int, int]:
    """Return the number of swipes of the last answer or greeting, and the index of the visible one.

    Raises UsageError if the last turn is neither.
    """
    if _is_unwritten(session):
        return len(session.opening.greetings), session.recorder.greeting
    siblings = _siblings(session)
    return len(siblings), siblings.index(session.recorder.path[-1])


def _is_unwritten(session: Session) -> bool:
    """Return whether the conversation consists of a greeting and is not saved yet."""
    return (
        session.recorder.conversation is None and len(session.conversation) == session.opened > session.root
    )


def at_a_greeting(session: Session) -> bool:
    """Return whether the character's greeting is the last message."""
    return len(session.conversation) == session.opened > session.root


def _siblings(session: Session) -> list[int]:
    """Return the ids of the last answer and its siblings, oldest first."""
    path, last = session.recorder.path, session.conversation.messages[-1:]
    if session.recorder.conversation is None or not path or last[0].role is not Role.ASSISTANT:
        raise UsageError("there is no answer here to have alternatives", "ask something first")
    parent = path[-2] if len(path) > 1 else None
    return store_of(session).children(session.recorder.conversation, parent)


def swipe(session: Session, place: int) -> None:
    """Show another swipe of the last answer or greeting. `place` is its index among the swipes.

    Raises UsageError if there is no swipe with that index.
    """
    count, _ = alternatives(session)
    if not 0 <= place < count:
        what = "greetings" if at_a_greeting(session) else "answers"
        hint = "" if at_a_greeting(session) else "/swipe right makes one"
        raise UsageError(f"there are {count} {what} here, not {place + 1}", hint)
    if _is_unwritten(session):
        session.greet_with(place)
    else:
        go_to(session, _siblings(session)[place])


def go_to(session: Session, number: int) -> None:
    """Make a message of this conversation the last visible one; for a user message, its newest answer.

    Raises UsageError if this conversation has no such message.
    """
    store = store_of(session)
    found = store.message(number)
    if found is None or found.conversation != session.recorder.conversation:
        raise UsageError(f"this conversation has no message {number}", "/tree shows those it has")
    if found.role is Role.USER:
        answers = store.children(found.conversation, found.id)
        number = answers[-1] if answers else found.parent or 0
    show(session, store.path(number or None))


def show(session: Session, path: list[StoredMessage]) -> None:
    """Make a path of the tree the visible conversation."""
    session.conversation = Conversation((*session.opening.before, *(stored.message for stored in path)))
    session.recorder.stand([stored.id for stored in path])


def last_messages(session: Session, count: int) -> list[StoredMessage]:
    """Return the last `count` visible messages from the store, oldest first."""
    store, path = store_of(session), session.recorder.path[-count:]
    return [found for found in map(store.message, path) if found is not None]


def fork(session: Session, title: str) -> StoredConversation:
    """Copy the visible path to a new conversation, continue there, and return it.

    The original conversation does not change. Raises UsageError if nothing is saved yet.
    """
    store, recorder = store_of(session), session.recorder
    if recorder.conversation is None:
        raise UsageError("there is nothing to fork yet", "ask something first")
    old = store.conversation(recorder.conversation)
    number = store.fork(recorder.conversation, recorder.path, title or f"{old.title if old else ''} (fork)")
    store.locks.take(number)
    made = store.conversation(number)
    if made is None:
        raise UsageError("the fork is gone", "/sessions lists what there is")
    recorder.resume(made, [stored.id for stored in store.path(made.leaf)])
    _set(session, made, session.frame)
    return made


def leave_disk(session: Session) -> int:
    """Copy the conversation's tree to a store in memory, and save everything that follows only there.

    The system prompt is no longer cached on disk either. Return the number of the conversation's messages on
    disk. These are not deleted.
    """
    session.opening = replace(session.opening, cacheable=False)
    before, recorder = store_of(session), session.recorder
    before.locks.release()
    memory = Store()
    recorder.store = memory
    conversation = before.conversation(recorder.conversation) if recorder.conversation else None
    if conversation is None:
        return 0
    messages = before.tree(conversation.id)
    (number,) = memory.adopt([(conversation, messages)])
    ids = dict(zip((m.id for m in messages), (m.id for m in memory.tree(number)), strict=True))
    recorder.conversation, recorder.path = number, [ids[one] for one in recorder.path]
    recorder.left_behind = before, conversation.id
    if (there := memory.conversation(number)) is not None:
        _set(session, there, session.frame)
    return len(messages)


def resume(session: Session, conversation: StoredConversation, frame: PromptSettings | None = None) -> None:
    """Continue a stored conversation at its last visible message, with the frame of its persona.

    Raises StoreError if another process has it open.
    """
    store = store_of(session)
    if not store.locks.take(conversation.id):
        raise open_elsewhere(conversation)
    store.stop_partial(conversation.id)
    path = store.path(conversation.leaf)
    roots = [store.message(number) for number in store.children(conversation.id, None)]
    greetings = tuple(one.text for one in roots if one is not None and one.role is Role.ASSISTANT)
    opening = Opening.behind(conversation.opening, greetings)
    is_same = opening.system == session.opening.system
    opening = replace(opening, cacheable=session.opening.cacheable and is_same)
    session.resume(opening, [stored.message for stored in path])
    session.recorder.resume(conversation, [stored.id for stored in path])
    _set(session, conversation, frame or session.frame)


def _set(session: Session, conversation: StoredConversation, frame: PromptSettings) -> None:
    """Apply the stored settings of a conversation to the session: names, seed, note, summaries."""
    store = store_of(session)

    def path_to(number: int) -> list[Message]:
        found = store.message(number)
        same = found is not None and found.conversation == conversation.id
        return [stored.message for stored in store.path(number)] if same else []

    session.frame, session.summaries = saved_settings.from_saved(conversation.setting, frame, path_to)
    session.keep_setting()
