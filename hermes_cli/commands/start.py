"""From what the flags ask for to a session that can be talked to."""

from hermes_cli.chat import branches
from hermes_cli.chat.session import Session
from hermes_cli.commands import keeping
from hermes_cli.commands.flags import Flags
from hermes_cli.commands.model_choice import Choice, choose_model, open_engine
from hermes_cli.commands.runtime import Runtime
from hermes_cli.personas.persona import Persona


def start(runtime: Runtime, flags: Flags, *, keep: bool) -> tuple[Persona, Session, Choice]:
    """Return the persona, a session with it, and the model that was chosen. `keep` says whether it is kept.

    What can be wrong with the rest is looked at before the model is loaded, which takes longest.
    """
    runtime.leaves_no_trace = flags.no_log
    keeper = keeping.open_keeper(runtime, keep=keep, goes_on=flags.continue_last or flags.resume is not None)
    earlier = keeping.earlier_conversation(runtime, keeper, flags)
    persona = keeping.persona_of(runtime, flags, earlier)
    opening = runtime.opening(persona, flags.system)
    sampling = flags.options(runtime.settings, persona)
    choice = choose_model(runtime, flags.model, flags.wishes(runtime.settings))
    keeper.persona = persona.key
    keeper.precision = choice.plan.precision if choice.plan else ""
    session = Session(open_engine(runtime, choice), opening, sampling, keeper)
    if earlier is not None:
        branches.resume(session, earlier)
        if flags.system is not None:
            session.set_system(flags.system or None)
    return persona, session, choice
