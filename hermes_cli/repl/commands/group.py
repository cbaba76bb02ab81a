"""Slash commands for conversations with several characters: who speaks next, and who takes part."""

from collections.abc import Mapping

from hermes_cli.chat.members import mentioned, together
from hermes_cli.errors import UsageError
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import sanitize_line

ADD, REMOVE = "add", "remove"


def member_choices(state: ReplState) -> Mapping[str, str]:
    """Return the names of the characters, for completion."""
    return {member.name: member.persona.description for member in state.session.members}


def choices(state: ReplState) -> Mapping[str, str]:
    """Return the arguments of `/group`, for completion."""
    add = {f"{ADD} {name}": text for name, text in state.host.persona_names().items()}
    remove = {f"{REMOVE} {name}": text for name, text in member_choices(state).items()}
    return {
        ADD: "NAME adds a persona to the conversation",
        REMOVE: "NAME removes a character",
        **add,
        **remove,
    }


def talk(state: ReplState, argument: str) -> None:
    """Let a character speak without a turn of the user; by default, the one whose turn it is (`/talk`)."""
    session = state.session
    speaker = _member(state, argument) if argument else session.next_speaker
    state.answer(lambda cancel: session.talk(speaker, cancel))


def group(state: ReplState, argument: str) -> None:
    """List the characters of the conversation, add one, or remove one (`/group`)."""
    word, _, name = argument.partition(" ")
    if not argument:
        _show(state)
    elif word == ADD and name.strip():
        _add(state, name.strip())
    elif word == REMOVE and name.strip():
        _remove(state, _member(state, name.strip()))
    else:
        raise UsageError(
            f"/group does not take '{argument}'", "/group, /group add NAME or /group remove NAME"
        )


def _show(state: ReplState) -> None:
    session = state.session
    rows = [
        (f"{'*' if index == session.next_speaker else ' '} {member.name}", _facts(state, index))
        for index, member in enumerate(session.members)
    ]
    state.show_rows(rows)
    if len(rows) > 1:
        state.notice("* speaks next, unless your message mentions others. /talk NAME lets one speak.")


def _facts(state: ReplState, index: int) -> str:
    member = state.session.members[index]
    entries = sum(len(book.entries) for book in member.prompt_settings.books)
    return f"{member.persona.key}, {pluralize(entries, 'lore entry', 'lore entries')}"


def _member(state: ReplState, name: str) -> int:
    """Return the index of the character with this name, or with a name that contains it."""
    names = [member.name for member in state.session.members]
    folded = name.casefold()
    exact = [index for index, known in enumerate(names) if known.casefold() == folded]
    begun = [index for index, known in enumerate(names) if known.casefold().startswith(folded)]
    found = exact or begun or mentioned(name, names)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(sanitize_line(names[index]) for index in found or range(len(names)))
    if found:
        raise UsageError(f"'{name}' can be several characters: {listed}", "write the whole name")
    raise UsageError(f"there is no character '{name}' here: {listed}", "/group add NAME adds one")


def _add(state: ReplState, name: str) -> None:
    session, persona = state.session, state.host.find_persona(name)
    if persona.called in [member.name for member in session.members]:
        raise UsageError(f"{sanitize_line(persona.called)} is already here", "a group needs different names")
    new, _ = state.host.open_member(persona)
    shown = len(session.tree.path)
    session.add_member(new)
    state.notice(f"{sanitize_line(new.name)} takes part now.")
    state.greet(shown)


def _remove(state: ReplState, index: int) -> None:
    session = state.session
    if len(session.members) == 1:
        raise UsageError("this is the only character", "/persona NAME starts a conversation with another")
    gone = session.members[index]
    session.change_personas(together([member for member in session.members if member is not gone]))
    state.notice(f"{sanitize_line(gone.name)} has left; what it said stays.")
