"""The slash command for the user's personas."""

from collections.abc import Mapping

from hermes_cli.chat.switch_user import switch_user
from hermes_cli.errors import UsageError
from hermes_cli.repl.state import ReplState
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.user_personas import matching


def user_choices(state: ReplState) -> Mapping[str, str]:
    """Return the user personas of the config file by key, for completion."""
    return {key: user.description or user.name for key, user in state.host.users().items()}


def user(state: ReplState, argument: str) -> None:
    """Show who the user is, or continue as another user persona (`/user`)."""
    current = state.session.prompt_settings.macros.user
    if not argument:
        state.show(f"You are {sanitize_line(current)}.")
        state.show_rows(
            [
                (f"{'*' if found.name == current else ' '} {key}", found.name, found.description)
                for key, found in state.host.users().items()
            ],
            "The config file has no [users.NAME]; /user NAME sets a name.",
        )
        return
    if len(argument.splitlines()) > 1:
        raise UsageError("/user takes a name on a single line")
    if argument == "-":
        raise UsageError("/user takes a name", "/user alone lists those of the config file")
    known = state.host.users()
    if known and not matching(known, argument):
        keys = sanitize_line(", ".join(known))
        state.notice(f"'{sanitize_line(argument)}' is not one of the config file's users: {keys}.")
    chosen = state.host.use_user(argument)
    is_complete = switch_user(state.session, chosen)
    state.notice(f"You are now {sanitize_line(chosen.name)}; earlier messages keep the earlier name.")
    if not is_complete:
        state.notice("The system prompt was changed by hand, and stays as it is.")
