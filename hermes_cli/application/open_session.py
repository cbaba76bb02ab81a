"""Starts a session from the flags of `ask` and `chat`."""

from dataclasses import replace

from hermes_cli.application import open_conversation, persona_setup
from hermes_cli.application.flags import Flags
from hermes_cli.application.open_model import ModelChoice, choose_model, open_engine, open_later
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat import saved_conversations
from hermes_cli.chat.session import Session
from hermes_cli.personas.persona import Persona


def start(
    runtime: Runtime, flags: Flags, *, keep: bool, later: bool = False
) -> tuple[Persona, Session, ModelChoice]:
    """Return the persona, a session with it, and the chosen model.

    With `keep` the conversation is saved. With `later` the session's engine loads the model on a thread.
    Everything else is validated first, because loading the model takes longest.
    """
    runtime.leaves_no_trace = flags.no_log
    recorder = open_conversation.open_recorder(
        runtime, keep=keep, goes_on=flags.continue_last or flags.resume is not None
    )
    earlier = open_conversation.earlier_conversation(runtime, recorder, flags)
    persona = open_conversation.persona_of(runtime, flags, earlier)
    sampling = flags.options(runtime.settings, persona)
    macros = persona_setup.macros_for(runtime, flags, persona, sampling.options)
    opening = persona_setup.opening_for(runtime, persona, macros, flags.system)
    frame = persona_setup.frame_for(runtime, flags, persona, macros)
    choice = choose_model(runtime, flags.model, flags.plan_request(runtime.settings))
    recorder.persona = persona.key
    recorder.precision = choice.plan.precision if choice.plan else ""
    engine = open_later(runtime, choice) if later else open_engine(runtime, choice)
    session = Session(engine, opening, sampling, recorder, frame)
    if earlier is not None:
        saved_conversations.resume(session, earlier)
        if flags.user is not None:  # earlier messages keep the earlier name
            session.set_frame(replace(session.frame, macros=replace(session.frame.macros, user=flags.user)))
        if flags.system is not None:
            session.set_system(flags.system or None)
    return persona, session, choice
