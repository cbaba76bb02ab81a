"""Converts the members and the summaries of a conversation to and from the settings that are stored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hermes_cli.chat.members import Member, together
from hermes_cli.chat.prompt_settings import PromptSettings, Summary
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.macros import USER_TEXT, MacroState
from hermes_cli.personas.persona import Note, Persona
from hermes_cli.store.records import SavedMember, SavedSettings, StoredConversation, bounded_variables


def to_saved(members: Sequence[Member], summaries: Sequence[Summary]) -> SavedSettings:
    """Return the settings to store. Summaries of turns that are not stored are left out."""
    first, *others = members
    settings = first.prompt_settings
    note = settings.note or Note("", 0)
    stored = [(summary.through, summary.text) for summary in summaries if summary.through]
    macros, off = settings.macros, tuple(sorted(settings.lore_off))
    at, about_user = first.opening.character_at, macros.texts.get(USER_TEXT, "")
    return SavedSettings(
        macros.user, macros.seed, note.text, note.depth, tuple(stored), off, at, about_user,
        bounded_variables(macros.state.variables.items()), first.file,
        first.name if others else "", tuple(map(_saved_member, others)),
    )  # fmt: skip


def _saved_member(member: Member) -> SavedMember:
    opening = member.opening
    examples = tuple((message.role, message.text) for message in opening.examples)
    key, at = member.persona.key, opening.character_at
    return SavedMember(key, member.name, opening.system, examples, at, member.file)


def from_saved(
    stored: StoredConversation, saved: SavedSettings, opening: Opening, members: Sequence[Member]
) -> tuple[Member, ...]:
    """Return the members of a stored conversation. The first one has the stored `opening`.

    `members` are those of its personas, in the same order. One that is missing has no lore. Members that the
    conversation did not have keep their opening.
    """
    first, *others = members
    state = first.prompt_settings.macros.state
    state = replace(state, variables={**state.variables, **dict(saved.variables)})
    result = [_with_file(restored(saved, state, first, opening), stored.persona, saved.persona_file)]
    for index, other in enumerate(saved.others):
        examples = tuple(Message(Role(role), text) for role, text in other.examples)
        member = others[index] if index < len(others) else _without_persona(other, first)
        greetings = member.opening.greetings
        its_opening = Opening(other.system, examples, greetings, character_at=other.character_at)
        member = restored(saved, state, member, its_opening)
        result.append(_with_file(member, other.persona, other.persona_file))
    new = others[len(saved.others) :]
    return tuple(together([*result, *(restored(saved, state, member, member.opening) for member in new)]))


def _without_persona(saved: SavedMember, first: Member) -> Member:
    """Return a member whose persona was not found."""
    settings = first.prompt_settings
    macros = replace(settings.macros, char=saved.name, texts={})
    kept = PromptSettings(macros, overflow=settings.overflow, names=settings.names)
    return Member(Persona(saved.name, "", Path(f"{saved.persona}.toml")), Opening(), kept)


def _with_file(member: Member, key: str, file: str) -> Member:
    """Return the member with the saved file of its persona, unless the persona itself was opened."""
    return member if member.persona.key == key and member.file else replace(member, file=file)


def restored(saved: SavedSettings, state: MacroState, member: Member, opening: Opening) -> Member:
    """Return the member with the settings of the conversation, and with this opening."""
    settings = member.prompt_settings
    macros = settings.macros
    seed = macros.seed if saved.seed is None else saved.seed
    texts = {**macros.texts, USER_TEXT: saved.about_user} if saved.about_user else macros.texts
    macros = replace(macros, user=saved.user or macros.user, seed=seed, texts=texts, state=state)
    note = Note(saved.note, saved.note_depth) if saved.note else None
    is_cacheable = member.opening.cacheable and opening.system == member.opening.system
    changed = replace(settings, macros=macros, note=note, lore_off=frozenset(saved.lore_off))
    return replace(member, opening=opening._replace(cacheable=is_cacheable), prompt_settings=changed)
