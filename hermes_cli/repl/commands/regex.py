"""`/regex`: lists the regex scripts of the persona, and turns them off and on."""

from dataclasses import replace

from hermes_cli.errors import UsageError
from hermes_cli.personas.regex_script import RegexScript
from hermes_cli.repl.state import ReplState

OFF = "off"
ON = "on"


def regex(state: ReplState, argument: str) -> None:
    """List the regex scripts, or turn all of them off or on in this conversation (`/regex`)."""
    session = state.session
    scripts = session.prompt_settings.scripts
    if argument in {OFF, ON}:
        if not scripts.scripts:
            raise UsageError("the persona has no regex scripts")
        session.set_members(
            [
                member.with_settings(scripts=replace(member.prompt_settings.scripts, is_on=argument == ON))
                for member in session.members
            ]
        )
        state.notice(f"Regex scripts are {argument}; messages that they have changed stay as they are.")
    elif argument:
        raise UsageError(f"/regex does not take '{argument}'", "/regex, /regex off or /regex on")
    else:
        disabled = scripts.state.disabled
        rows = [
            (script.title, _effect(script), ", ".join(script.targets), disabled.get(number, _state(script)))
            for number, script in enumerate(scripts.scripts)
        ]
        state.show_rows(rows, "The persona has no regex scripts.")
        if rows and not scripts.is_on:
            state.notice("They are off; /regex on turns them on.")


def _effect(script: RegexScript) -> str:
    places = ("display" if script.display else "", "prompt" if script.prompt else "")
    return " and ".join(filter(None, places)) or "message"


def _state(script: RegexScript) -> str:
    return "" if script.enabled else "disabled"
