"""Slash commands for the user's note and for the summary of the oldest turns."""

from hermes_cli.errors import UsageError
from hermes_cli.personas.persona import Note
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.columns import pluralize

DEPTH = 1
"""The default: just before the user's last turn, models follow a note and the prefix cache stays valid."""
MAX_DEPTH = 99


def note(state: ReplState, argument: str) -> None:
    """Show, set or remove the note that is inserted near the end of every prompt (`/note`)."""
    session = state.session
    if not argument:
        found = session.prompt_settings.note
        state.show(f"At depth {found.depth}: {found.text}" if found else "There is no note.")
        return
    if argument == "-":
        had_note = session.prompt_settings.note is not None
        session.change_settings(note=None)
        state.notice("Removed the note." if had_note else "There is no note.")
        return
    text, _, last = argument.rpartition(" ")
    has_depth = text.strip() and last.isdecimal() and len(last) < 3 and int(last) <= MAX_DEPTH  # noqa: PLR2004
    added = Note(text.strip(), int(last)) if has_depth else Note(argument, DEPTH)
    added = added._replace(text=session.filled(added.text))
    session.change_settings(note=added)
    where = f"{pluralize(added.depth, 'turn')} from the end of" if added.depth else "after your last turn in"
    state.notice(f"The note is inserted {where} every prompt; /note - removes it.")


EDIT = "edit"


def summary(state: ReplState, argument: str) -> None:
    """Show, change or remove the model's summary of the oldest turns (`/summary`)."""
    session = state.session
    found = session.prompts.summary_of(session.turns)
    if found is None:
        raise UsageError(
            "there is no summary here",
            "with --on-overflow summarise, the oldest turns are summarized if they do not fit",
        )
    if not argument:
        state.show(found.text)
        state.notice(f"It replaces the first {pluralize(found.covers, 'message')}; /summary edit changes it.")
    elif argument == "-":
        session.set_summaries(tuple(summary for summary in session.summaries if summary is not found))
        state.notice("Removed the summary; its turns are part of the prompt again, as far as they fit.")
    elif argument == EDIT:
        state.edit(found.text, lambda new: _change(state, new))
    else:
        from hermes_cli.chat.summarize import LEAD

        _change(state, LEAD + argument)


def _change(state: ReplState, text: str) -> None:
    session = state.session
    found = session.prompts.summary_of(session.turns)
    session.set_summaries(
        tuple(summary._replace(text=text) if summary is found else summary for summary in session.summaries)
    )
    state.notice("Changed the summary.")
