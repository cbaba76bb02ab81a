"""From what the flags ask for to a session that can be talked to."""

from hermes_cli.chat.session import Session
from hermes_cli.commands.flags import Flags
from hermes_cli.commands.model_choice import Choice, choose_model, open_engine
from hermes_cli.commands.runtime import Runtime
from hermes_cli.personas.persona import Persona


def start(runtime: Runtime, flags: Flags) -> tuple[Persona, Session, Choice]:
    """Return the persona, a session with it, and the model that was chosen.

    What can be wrong with the rest is looked at before the model is loaded, which takes longest.
    """
    persona = runtime.persona(flags.persona)
    opening = runtime.opening(persona, flags.system)
    sampling = flags.options(runtime.settings, persona)
    choice = choose_model(runtime, flags.model, flags.wishes(runtime.settings))
    return persona, Session(open_engine(runtime, choice), opening, sampling), choice
