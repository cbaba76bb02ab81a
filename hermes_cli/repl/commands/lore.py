"""`/lore`: shows the active lore entries, adds an entry, or switches one off and on."""

from collections.abc import Sequence

from hermes_cli.chat.lore_budget import ActiveEntry
from hermes_cli.chat.lore_scan import ALWAYS
from hermes_cli.errors import UsageError
from hermes_cli.messages import Role
from hermes_cli.options import suggestion
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import sanitize_line

ADD = "add"
OFF = "off"
ON = "on"


def lore(state: ReplState, argument: str) -> None:
    """Show the active lore entries, add one, or switch one off or on (`/lore`)."""
    word, _, rest = argument.partition(" ")
    if word == ADD:
        _add(state, rest)
    elif word in {OFF, ON}:
        _switch(state, rest.strip(), is_on=word == ON)
    elif argument:
        raise UsageError(
            f"/lore does not take '{argument}'",
            "/lore, /lore add KEYS: TEXT, /lore off NAME or /lore on NAME",
        )
    else:
        _show(state)


def _add(state: ReplState, text: str) -> None:
    keys, colon, content = text.partition(":")
    words = tuple(filter(None, (key.strip() for key in keys.split(","))))
    if not colon or not words or not content.strip():
        raise UsageError(
            "an entry has keys and a text", "/lore add dragon, wyrm: Dragons have been gone for a century."
        )
    entry, session = LoreEntry(content.strip(), words), state.session
    member = session.member
    if state.host.is_saving_disabled:
        books = (*member.prompt_settings.books, Lorebook((entry,)))
        where = "for this run only"
    else:
        where = f"in {state.host.add_lore(member.persona, entry)}"
        books = state.host.open_member(member.persona)[0].prompt_settings.books
    session.set_members(
        [other.with_settings(books=books) if other is member else other for other in session.members]
    )
    state.notice(f"Added the entry {where}. It becomes active when {' or '.join(words)} occurs.")


def _switch(state: ReplState, name: str, *, is_on: bool) -> None:
    """Switch the entries with this title on or off, for this conversation."""
    if not name:
        raise UsageError("which entry? write its name", "/lore shows the entries by name")
    session = state.session
    settings = session.prompt_settings
    titles = {entry.title for book in settings.books for entry in book.entries}
    known = settings.lore_off if is_on else titles - settings.lore_off
    found = {title for title in known if title.casefold() == name.casefold()}
    if not found:
        what = "a lore entry that is switched off" if is_on else "a lore entry that is switched on"
        near = suggestion(name, known)
        raise UsageError(f"'{name}' is not the name of {what}{near}", "/lore shows the entries by name")
    lore_off = settings.lore_off - found if is_on else settings.lore_off | found
    session.change_settings(lore_off=lore_off)
    title = sanitize_line(min(found))
    effect = "is on again" if is_on else f"is off in this conversation; /lore on {title} switches it on"
    state.notice(f"The entry {title} {effect}.")


def _show(state: ReplState) -> None:
    session = state.session
    state.print_next_speaker()
    count = sum(len(book.entries) for book in session.prompt_settings.books)
    if not count:
        state.notice("There is no lore; /lore add KEYS: TEXT adds an entry.")
        return
    prompt = session.assembled()
    turns = session.turns
    numbers = [sum(m.role is Role.USER for m in turns[: active.since + 1]) for active in prompt.active]
    since = [f"since your turn {number}" for number in numbers]
    rows = [*_rows(prompt.always, ["in every prompt"] * len(prompt.always)), *_rows(prompt.active, since)]
    rows += _rows(prompt.without_room, ["left out: it does not fit"] * len(prompt.without_room))
    rows += [(title, "", "switched off", "") for title in sorted(session.prompt_settings.lore_off)]
    state.show_rows(rows)
    active, books = len(prompt.always) + len(prompt.active), len(session.prompt_settings.books)
    cost = sum(active.tokens for active in (*prompt.always, *prompt.active))
    state.notice(
        f"{active} of {pluralize(count, 'entry', 'entries')} in {pluralize(books, 'book')}: "
        f"{pluralize(cost, 'token')}."
    )
    for key, why in session.prompts.lore_problems().items():
        state.notice(f"Ignored key {sanitize_line(key)}: {why}")


def _rows(entries: Sequence[ActiveEntry], remarks: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        (
            active.entry.title,
            "" if active.key == ALWAYS else f"by {active.key}",
            remark,
            pluralize(active.tokens, "token"),
        )
        for active, remark in zip(entries, remarks, strict=True)
    ]
