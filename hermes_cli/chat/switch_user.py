"""Continues a conversation as another of the user's personas."""

from dataclasses import replace

from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.chat.turn_scripts import with_scripts
from hermes_cli.personas.macros import USER_TEXT
from hermes_cli.personas.opening import open_with
from hermes_cli.user_personas import UserPersona


def switch_user(session: Session, user: UserPersona) -> bool:
    """Use another name and description of the user in later prompts. Earlier messages are unchanged.

    Return whether the system prompts and the examples were changed. They are not if they are no longer those
    of the personas, for example after `/system`.
    """
    switched = [_switched(member, user) for member in session.members]
    session.set_members([member for member, _ in switched])
    session.set_openings([member.opening for member in session.members])
    return all(is_of_persona for _, is_of_persona in switched)


def _switched(member: Member, user: UserPersona) -> tuple[Member, bool]:
    """Return the member for another user, and whether its opening is that of its persona."""
    old, opening = member.prompt_settings.macros, member.opening
    new = replace(old, user=user.name, texts={**old.texts, USER_TEXT: user.description})
    before = open_with(member.persona, old, old.texts.get(USER_TEXT, ""))
    is_of_persona = (before.system, before.examples) == (opening.system, opening.examples)
    if is_of_persona:
        after = with_scripts(open_with(member.persona, new, user.description), member.prompt_settings)
        opening = after._replace(cacheable=opening.cacheable)
    return replace(member.with_settings(macros=new), opening=opening), is_of_persona
