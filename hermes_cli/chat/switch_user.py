"""Continues a conversation as another of the user's personas."""

from dataclasses import replace

from hermes_cli.chat.session import Session
from hermes_cli.chat.turn_scripts import with_scripts
from hermes_cli.personas.macros import USER_TEXT
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import Persona
from hermes_cli.user_personas import UserPersona


def switch_user(session: Session, persona: Persona, user: UserPersona) -> bool:
    """Use another name and description of the user in later prompts. Earlier messages are unchanged.

    Return whether the system prompt and the examples were changed. They are not if they are no longer those
    of the persona, for example after `/system`.
    """
    settings, opening = session.prompt_settings, session.opening
    old = settings.macros
    new = replace(old, user=user.name, texts={**old.texts, USER_TEXT: user.description})
    before = open_with(persona, old, old.texts.get(USER_TEXT, ""))
    is_of_persona = (before.system, before.examples) == (opening.system, opening.examples)
    session.set_prompt_settings(replace(settings, macros=new))
    if is_of_persona:
        after = with_scripts(open_with(persona, new, user.description), session.prompt_settings)
        session.set_opening(replace(after, cacheable=opening.cacheable))
    return is_of_persona
