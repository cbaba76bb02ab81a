"""`/lore`: shows the active lore entries with their keys and token counts, or adds an entry."""

from collections.abc import Sequence
from dataclasses import replace

from hermes_cli.chat.lore_budget import ActiveEntry
from hermes_cli.chat.lore_scan import ALWAYS
from hermes_cli.errors import UsageError
from hermes_cli.messages import Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import sanitize_line

ADD = "add"


def lore(state: ReplState, argument: str) -> None:
    """Show the active lore entries, or add one (`/lore`)."""
    word, _, rest = argument.partition(" ")
    if word == ADD:
        _add(state, rest)
    elif argument:
        raise UsageError(f"/lore does not take '{argument}'", "/lore, or /lore add KEYS: TEXT")
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
    if state.host.is_saving_disabled:
        books = (*session.prompt_settings.books, Lorebook((entry,)))
        where = "for this run only"
    else:
        where = f"in {state.host.add_lore(state.persona, entry)}"
        books = state.host.open_with_persona(state.persona)[1].books
    session.set_prompt_settings(replace(session.prompt_settings, books=books))
    state.notice(f"Added the entry {where}. It becomes active when {' or '.join(words)} occurs.")


def _show(state: ReplState) -> None:
    session = state.session
    count = sum(len(book.entries) for book in session.prompt_settings.books)
    if not count:
        state.notice("There is no lore; /lore add KEYS: TEXT adds an entry.")
        return
    prompt = session.assembled()
    turns = session.conversation.messages[session.root :]
    numbers = [sum(m.role is Role.USER for m in turns[: active.since + 1]) for active in prompt.active]
    since = [f"since your turn {number}" for number in numbers]
    rows = [*_rows(prompt.always, ["in every prompt"] * len(prompt.always)), *_rows(prompt.active, since)]
    rows += _rows(prompt.without_room, ["left out: it does not fit"] * len(prompt.without_room))
    state.show_rows(rows)
    active, books = len(prompt.always) + len(prompt.active), len(session.prompt_settings.books)
    cost = sum(active.tokens for active in (*prompt.always, *prompt.active))
    state.notice(
        f"{active} of {pluralize(count, 'entry', 'entries')} in {pluralize(books, 'book')}: "
        f"{pluralize(cost, 'token')}."
    )
    for key, why in session.lore_problems().items():
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
