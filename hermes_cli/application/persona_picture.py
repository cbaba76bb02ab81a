"""Shows the picture of a character card at a terminal that can show it."""

from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import PersonaError
from hermes_cli.personas.persona import Persona
from hermes_cli.screen import pictures

KINDS = ("png", "charx")
"""The formats with a picture that terminals accept. Those in WebP and JPEG cards would have to be decoded."""


def show_picture(runtime: Runtime, persona: Persona) -> str:
    """Write the picture of a persona, if it has one, to a terminal that shows pictures.

    Returns the reason why the picture cannot be shown, or an empty string.
    """
    terminal = runtime.terminal
    if not (persona.original and persona.kind in KINDS and terminal.stdout_is_tty and terminal.obeys):
        return ""
    name = pictures.protocol(runtime.settings.pictures, runtime.environ)
    if not name:
        return ""
    from hermes_cli.personas import loader
    from hermes_cli.personas.formats import registry

    try:
        picture = registry.picture(loader.read_card(persona.original), persona.kind, persona.original)
    except PersonaError as error:
        return error.message
    if picture:
        terminal.put(pictures.encode(picture, name, terminal.size()))
    return ""
