"""Starts a session from the flags of `ask` and `chat`."""

from dataclasses import replace

from hermes_cli.chat import branches
from hermes_cli.chat.session import Session
from hermes_cli.commands import keeping, staging
from hermes_cli.commands.flags import Flags
from hermes_cli.commands.model_choice import Choice, choose_model, open_engine, open_later
from hermes_cli.commands.runtime import Runtime
from hermes_cli.personas.persona import Persona


def start(
    runtime: Runtime, flags: Flags, *, keep: bool, later: bool = False
) -> tuple[Persona, Session, Choice]:
    """Return the persona, a session with it, and the chosen model.

    With `keep` the conversation is saved. With `later` the session's engine loads the model on a thread.
    Everything else is validated first, because loading the model takes longest.
    """
    runtime.leaves_no_trace = flags.no_log
    keeper = keeping.open_keeper(runtime, keep=keep, goes_on=flags.continue_last or flags.resume is not None)
    earlier = keeping.earlier_conversation(runtime, keeper, flags)
    persona = keeping.persona_of(runtime, flags, earlier)
    sampling = flags.options(runtime.settings, persona)
    macros = staging.macros_for(runtime, flags, persona, sampling.options)
    opening = staging.opening_for(runtime, persona, macros, flags.system)
    frame = staging.frame_for(runtime, flags, persona, macros)
    choice = choose_model(runtime, flags.model, flags.wishes(runtime.settings))
    keeper.persona = persona.key
    keeper.precision = choice.plan.precision if choice.plan else ""
    engine = open_later(runtime, choice) if later else open_engine(runtime, choice)
    session = Session(engine, opening, sampling, keeper, frame)
    if earlier is not None:
        branches.resume(session, earlier)
        if flags.user is not None:  # earlier messages keep the earlier name
            session.set_frame(replace(session.frame, macros=replace(session.frame.macros, user=flags.user)))
        if flags.system is not None:
            session.set_system(flags.system or None)
    return persona, session, choice
