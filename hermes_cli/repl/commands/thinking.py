"""`/thinking`: shows the reasoning of the model, and turns it off and on."""

from hermes_cli.errors import UsageError
from hermes_cli.messages import Role
from hermes_cli.repl.state import ReplState

SHOW, HIDE, OFF = "show", "hide", "off"
BUDGET = "thinking_budget"
COMMAND = "/thinking"


def thinking(state: ReplState, argument: str) -> None:
    """Show the reasoning before the last answer, or set what happens with later ones (`/thinking`)."""
    if argument not in {"", SHOW, HIDE, OFF}:
        raise UsageError(f"/thinking does not take '{argument}'", "/thinking, or /thinking show, hide or off")
    options = state.session.options
    if argument == OFF:
        state.session.options = options.with_layer({BUDGET: 0}, COMMAND)
        state.notice("The model answers without reasoning, if it can.")
        return
    if argument and options.options.thinking_budget == 0:
        state.session.options = options.with_layer({BUDGET: None}, COMMAND)
    if argument:
        state.shows_reasoning = argument == SHOW
        state.notice(f"The reasoning of the model is {'shown' if argument == SHOW else 'hidden'}.")
    if argument != HIDE:
        _show_last(state, if_none="" if argument else "There is no reasoning before the last answer.")


def _show_last(state: ReplState, if_none: str) -> None:
    path = state.session.tree.path
    last = path[-1] if path and path[-1].role is Role.ASSISTANT else None
    reasoning = last.generation.reasoning if last else state.session.reasoning
    if reasoning.strip():
        state.notice(reasoning.strip())
    elif if_none:
        state.notice(if_none)
