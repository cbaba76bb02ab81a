"""Slash commands for conversations: list, search, resume, rename, export, delete, and stop saving."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hermes_cli.chat import saved_conversations
from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.errors import UsageError
from hermes_cli.messages import Opening
from hermes_cli.personas.persona import Persona
from hermes_cli.repl.commands import settings
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize, when
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store import input_history
from hermes_cli.store.records import StoredConversation

SHOWN = 20
UNSAVED = "a chat that is not saved has only its own conversations, not the saved ones"


def sessions(state: ReplState, _argument: str) -> None:
    """List the most recent conversations (`/sessions`)."""
    here = state.session.recorder.conversation
    rows = [
        (
            "*" if conversation.id == here else "",
            str(conversation.id),
            when(conversation.updated),
            pluralize(conversation.message_count, "message"),
            conversation.title,
        )
        for conversation in state.store.conversations(SHOWN)
    ]
    state.show_rows(rows, "There are no conversations yet.")
    _notice_unsaved(state)


def _notice_unsaved(state: ReplState) -> None:
    """Print that the saved conversations are left out, if the store is in memory."""
    if state.store.file is None:
        state.notice(f"({UNSAVED})")


def resume_choices(state: ReplState) -> Mapping[str, str]:
    """Return the most recent conversations by number and by title, for completion."""
    store = state.session.recorder.store
    last = store.conversations(SHOWN) if store else []
    by_number = {str(conversation.id): conversation.title for conversation in last}
    return {
        **by_number,
        **{
            saved_conversations.one_line(conversation.title): f"number {conversation.id}"
            for conversation in last
        },
    }


def resume(state: ReplState, argument: str) -> None:
    """Continue another conversation; without a name, the most recent other one (`/resume`). Print which."""
    try:
        found = _to_resume(state, argument)
    except UsageError as error:
        raise UsageError(error.message, error.hint if state.store.file else UNSAVED) from None
    members, options = _members_of(state, found), None
    if members[0].persona.key == found.persona:
        options = state.host.options_for(members[0].persona)
    saved_conversations.resume(state.session, found, members)
    state.persona_from = "/resume"
    if options is not None:
        state.session.options = settings.keep_set_by_hand(state.session.options, options)
    state.notice(f"Continuing conversation {found.id}, '{sanitize_line(found.title)}'.")
    state.print_last_turns(2)


def _to_resume(state: ReplState, name: str) -> StoredConversation:
    """Return the conversation with that name, or without one the most recent other conversation."""
    if name:
        return saved_conversations.named(state.store, name)
    for conversation in state.store.conversations(2, visible=True):
        if conversation.id != state.session.recorder.conversation:
            return conversation
    raise UsageError("there is no other conversation")


def _members_of(state: ReplState, found: StoredConversation) -> list[Member]:
    """Return the characters of a conversation. One whose persona is gone keeps its name."""
    settings = PromptSettings(overflow=state.session.prompt_settings.overflow)
    members = list[Member]()
    saved = zip(state.host.earlier_personas(found), found.persona_keys, found.names, strict=True)
    for persona, key, name in saved:
        if persona is not None:
            members.append(state.host.open_member(persona)[0])
        else:
            unknown = Persona(name, "", Path(f"{key}.toml")) if name else state.persona
            named = replace(settings, macros=replace(settings.macros, char=name))
            members.append(Member(unknown, Opening(), named))
    return members


def title(state: ReplState, argument: str) -> None:
    """Show or set the title of this conversation (`/title`)."""
    store, number = state.saved_conversation()
    if argument:
        store.rename(number, argument)
        state.notice(f"This conversation is now called '{sanitize_line(argument)}'.")
        return
    found = store.conversation(number)
    state.show(sanitize_line(found.title) if found else "")


def search(state: ReplState, argument: str) -> None:
    """Search all conversations for messages that contain all of the words (`/search`)."""
    if not argument:
        raise UsageError("/search takes the words to search for")
    hits = state.store.search(argument, SHOWN)
    rows = [(str(hit.conversation), when(hit.created), hit.title, hit.excerpt) for hit in hits]
    state.show_rows(rows, "No message was found.")
    _notice_unsaved(state)


YES = "--yes"


def forget(state: ReplState, argument: str) -> None:
    """Delete this conversation and its lines in the input history, and start a new one (`/forget`).

    Ask for confirmation unless the argument is YES. Raises UsageError if there is no terminal to ask on.
    """
    if argument not in {"", YES}:
        raise UsageError(f"/forget does not take '{argument}'", f"/forget, or /forget {YES}")
    store, number = state.saved_conversation()
    if not argument and not _confirms_deletion(state):
        state.notice("(nothing was deleted)")
        return
    recorder, conversation = state.session.recorder, store.conversation(number)
    lines = input_history.lines_of(conversation, store.tree(number)) if conversation else set()
    store.remove([number])
    if recorder.left_on_disk is not None:
        disk, on_disk = recorder.left_on_disk
        disk.remove([on_disk])
        recorder.left_on_disk = None
    state.session.clear()
    if state.history is not None:
        state.history.forget(lines)
    state.notice("Deleted this conversation and started a new one.")
    if store.file is not None:
        from hermes_cli.store.rescue import kept_aside

        for path in kept_aside(store.file):
            state.notice(f"{path}, a damaged database, may still contain this conversation; delete it too.")
    state.greet()


def _confirms_deletion(state: ReplState) -> bool:
    if not state.terminal.asks:
        raise UsageError("/forget deletes this conversation permanently", f"confirm with /forget {YES}")
    question = "Delete this conversation permanently? [y/N] "
    return state.terminal.ask(question, discard_typed=True).strip().lower() in {"y", "yes"}


def stop_saving(state: ReplState, _argument: str) -> None:
    """Stop saving messages and typed lines for the rest of the run (`/nolog`)."""
    if state.host.is_saving_disabled:
        raise UsageError("nothing is saved in this run already")
    state.host.stop_saving()
    count = state.session.stop_saving()
    state.notice("Nothing is saved from here on.")
    if count:
        state.notice(f"Still on disk: {pluralize(count, 'message')}; /forget deletes this conversation.")


def export_choices(_state: ReplState) -> Mapping[str, str]:
    """Return the export formats, for completion."""
    from hermes_cli.formats import registry

    return {known.name: known.help for known in registry.FORMATS}


def export(state: ReplState, argument: str) -> None:
    """Write this conversation to a file, by default named after its title in the current folder (`/export`).

    An existing file is never overwritten.
    """
    from hermes_cli.formats import files, registry
    from hermes_cli.formats.transcript import Transcript
    from hermes_cli.private_files import write_private

    store, number = state.saved_conversation()
    known, name = registry.format_and_file(argument)
    found = store.conversation(number)
    if found is None:
        raise UsageError("this conversation was deleted elsewhere", "/sessions lists all conversations")
    character = state.persona.name if state.persona.key == found.persona else ""
    transcript = replace(Transcript.of(found, store.tree(number)), character=character)
    path = files.place(name, found.title, known.ending)
    write_private(path, registry.write(known, [transcript]).encode(), hint=files.IN_THE_WAY)
    state.notice(f"Written to {path}: {registry.remark(known, [transcript])}.")
