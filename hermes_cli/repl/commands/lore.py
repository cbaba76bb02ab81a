"""`/lore`: shows the active lore entries, adds an entry, or switches one off and on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hermes_cli.chat.members import Member
from hermes_cli.errors import UsageError
from hermes_cli.messages import Role
from hermes_cli.options import closest
from hermes_cli.personas.lorebook import EXCERPT, Lorebook, LoreEntry, labels
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line

if TYPE_CHECKING:
    from hermes_cli.chat.lore_budget import ActiveEntry  # imported with the first prompt

ADD = "add"
OFF = "off"
ON = "on"
SHOWN = 5
"""The number of entries with the same name that an error lists."""


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


def choices(state: ReplState) -> Mapping[str, str]:
    """Return the words after `/lore`, and the entries that can be switched off or on, for completion."""
    entries, off = _entries(state), state.session.prompt_settings.lore_off
    switches = {
        f"{OFF} {label}": entry.content
        for label, entry in entries.items()
        if off.isdisjoint((label, entry.title))
    }
    return {
        ADD: "KEYS: TEXT adds an entry",
        OFF: "NAME switches an entry off in this conversation",
        ON: "NAME switches it on again",
        **switches,
        **{f"{ON} {name}": "switched off" for name in sorted(off)},
    }


def _entries(state: ReplState) -> dict[str, LoreEntry]:
    """Return the entries of the lorebooks of all characters by label."""
    entries = dict[str, LoreEntry]()
    for member in state.session.members:
        entries = dict(_entries_of(member)) | entries
    return entries


def _entries_of(member: Member) -> Iterator[tuple[str, LoreEntry]]:
    """Yield the entries of the lorebooks of a character, each with its label."""
    books = member.prompt_settings.books
    yield from zip(labels(books), (entry for book in books for entry in book.entries), strict=True)


def _switch(state: ReplState, name: str, *, is_on: bool) -> None:
    """Switch the entry with this name on or off, for this conversation."""
    if not name:
        raise UsageError("which entry? write its name", "/lore shows the entries by name")
    settings, entries = state.session.prompt_settings, _entries(state)
    off = settings.lore_off
    titles = {label: entry.title for label, entry in entries.items()}
    known = (
        {label: titles.get(label, label) for label in sorted(off)}
        if is_on
        else {label: title for label, title in titles.items() if off.isdisjoint((label, title))}
    )
    found = _find(name, known)
    if len(found) > 1:
        rows = "; ".join(f"{label}: {_excerpt(entries.get(label))}" for label in found[:SHOWN])
        more = f"; and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        word = ON if is_on else OFF
        raise UsageError(
            f"{len(found)} entries have the name '{name}'; write /lore {word} {found[0]}, for example",
            sanitize_line(f"{rows}{more}", LONG_LINE),
        )
    if not found:
        what = "a lore entry that is switched on" if not is_on else "a lore entry that is switched off"
        folded = {label.casefold(): label for label in known}
        near = folded.get(closest(name.casefold(), folded), "")
        guess = f"; did you mean '{sanitize_line(near)}'?" if near else ""
        raise UsageError(f"'{name}' is not the name of {what}{guess}", "/lore shows the entries by name")
    label = found[0]
    lore_off = off - {label} if is_on else off | {label}
    state.session.change_settings(lore_off=lore_off)
    title = sanitize_line(label)
    effect = "is on again" if is_on else f"is off in this conversation; /lore on {title} switches it on"
    state.notice(f"The entry {title} {effect}.")


def _find(name: str, titles: Mapping[str, str]) -> list[str]:
    """Return the label that equals a name, or else those with that title, or else those that differ in case.

    `titles` maps labels to titles.
    """
    if name in titles:
        return [name]
    folded = name.casefold()
    return [label for label, title in titles.items() if title == name] or [
        label for label, title in titles.items() if folded in {label.casefold(), title.casefold()}
    ]


def _excerpt(entry: LoreEntry | None) -> str:
    return sanitize_line(entry.content, EXCERPT) if entry else "not in the lorebooks"


def _show(state: ReplState) -> None:
    session = state.session
    if not _entries(state):
        state.notice("There is no lore; /lore add KEYS: TEXT adds an entry.")
        return
    for speaker, member in enumerate(session.members):
        if member.prompt_settings.books:
            if len(session.members) > 1:
                state.notice(f"{sanitize_line(member.name)}:")
            _show_member(state, speaker)
    for key, why in session.prompts.lore_problems().items():
        state.notice(f"Ignored key {sanitize_line(key)}: {why}")


def _show_member(state: ReplState, speaker: int) -> None:
    """Show the lore in the prompt of a character."""
    session, member = state.session, state.session.members[speaker]
    settings = member.prompt_settings
    count = sum(len(book.entries) for book in settings.books)
    turns = session.turns
    prompt = session.prompts.assembled(turns, speaker)
    numbers = [sum(m.role is Role.USER for m in turns[: active.since + 1]) for active in prompt.active]
    since = [f"since your turn {number}" for number in numbers]
    names = [label for label, _ in _entries_of(member)]
    rows = _rows(names, prompt.always, ["in every prompt"] * len(prompt.always))
    rows += _rows(names, prompt.active, since)
    rows += _rows(names, prompt.without_room, ["left out: it does not fit"] * len(prompt.without_room))
    rows += [(title, "", "switched off", "") for title in sorted(settings.lore_off)]
    state.show_rows(rows)
    active, books = len(prompt.always) + len(prompt.active), len(settings.books)
    cost = sum(active.tokens for active in (*prompt.always, *prompt.active))
    state.notice(
        f"{active} of {pluralize(count, 'entry', 'entries')} in {pluralize(books, 'book')}: "
        f"{pluralize(cost, 'token')}."
    )


def _rows(
    names: Sequence[str], entries: "Sequence[ActiveEntry]", remarks: Sequence[str]
) -> list[tuple[str, ...]]:
    from hermes_cli.chat.lore_scan import ALWAYS

    return [
        (
            names[active.number],
            "" if active.key == ALWAYS else f"by {active.key}",
            remark,
            pluralize(active.tokens, "token"),
        )
        for active, remark in zip(entries, remarks, strict=True)
    ]
