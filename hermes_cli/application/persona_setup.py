"""Builds the macros, opening and frame of a session from a persona and the flags."""

import secrets

from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.input_text import check_text
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.errors import UsageError
from hermes_cli.messages import Opening
from hermes_cli.options import GenerationOptions
from hermes_cli.personas import loader
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import DEFAULT_USER, Persona
from hermes_cli.screen.sanitize import sanitize_line

SEED_BITS = 32


def macros_for(runtime: Runtime, flags: Flags, persona: Persona, options: GenerationOptions) -> Macros:
    """Return the values of the macros. Without a seed in the options, a random one is used."""
    name = flags.user
    if name is not None and (not name.strip() or len(name.splitlines()) > 1):
        raise UsageError("--user takes a name of one line")
    user = name or runtime.settings.user or persona.user or DEFAULT_USER
    seed = options.seed if options.seed is not None else secrets.randbits(SEED_BITS)
    return Macros(persona.called, check_text(user, "--user"), seed)


def opening_for(runtime: Runtime, persona: Persona, macros: Macros, system: str | None) -> Opening:
    """Return the opening of a conversation with the persona. `system` replaces its system prompt."""
    opening = open_with(persona, macros, runtime.settings.about_user)
    if system is None:
        runtime.persona_prompts.add(opening.system)
        return opening
    return Opening(check_text(system, "--system") or None, opening.examples, opening.greetings)


def frame_for(runtime: Runtime, flags: Flags, persona: Persona, macros: Macros) -> PromptSettings:
    """Return the frame of a conversation with the persona, and print a notice for each missing lorebook.

    Raises PersonaError if a lorebook cannot be used, and UsageError if a flag is invalid.
    """
    lore = runtime.paths.lore
    worlds = loader.lorebooks(persona, lore)
    for name in worlds.missing:
        told = f"{sanitize_line(persona.name)} asks for the world '{sanitize_line(name)}', which is not here"
        runtime.terminal.notice(told)
    more = tuple(loader.find_lorebook(name, lore) for name in flags.lore)
    interactive = runtime.terminal.interactive
    return PromptSettings(
        macros,
        (*worlds.books, *more),
        persona.post_history,
        persona.note,
        None,
        persona.is_character,
        flags.overflow(runtime.settings, interactive=interactive),
    )
