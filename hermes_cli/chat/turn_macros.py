"""The macros and regex scripts in the user's own turns, and what macros need to know about all turns."""

from collections.abc import Sequence

from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.regex_scripts import Stage
from hermes_cli.messages import Message, Role
from hermes_cli.personas.macros import MacroState
from hermes_cli.personas.regex_script import Target
from hermes_cli.tree import Node
from hermes_cli.untrusted.deadline import Deadline


def fill_turn(
    text: str,
    settings: PromptSettings,
    number: int,
    turns: Sequence[Message],
    deadline: Deadline,
    *,
    stage: Stage | None = None,
) -> str:
    """Return the user's text after the scripts for `stage`, with its macros expanded if the settings say so.

    `number` differs for each turn of a conversation, so that dice are rolled again.
    """
    if stage is not None:
        scripts, macros = settings.scripts, settings.macros
        numbers = scripts.select(Target.USER, stage)
        text = scripts.run(text, numbers, macros, moment=number, turns=turns, deadline=deadline)
    if not settings.fills_turns:
        return text
    return settings.macros.fill(text, "turn", number, deadline=deadline, turns=turns)


def idle_seconds(path: Sequence[Node]) -> float | None:
    """Return the time between the user's last two turns, or None if it is unknown."""
    times = [node.created for node in path if node.role is Role.USER and node.created][-2:]
    return times[1] - times[0] if len(times) == 2 else None  # noqa: PLR2004 - two turns


def report_unknown(state: MacroState) -> list[str]:
    """Return a remark about the unknown macros that have not been reported yet, if there are any."""
    new = [name for name, is_reported in state.unknown.items() if not is_reported]
    state.unknown.update(dict.fromkeys(new, True))
    names = ", ".join(f"{{{{{name}}}}}" for name in new)
    return [f"Unknown macros are left in the text: {names}"] if new else []
