"""Prints the errors that typer finds in a command line, in the way of hermes' own errors."""

from typing import Any, Final

import typer

from hermes_cli.options import closest
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line
from hermes_cli.screen.terminal import Terminal

CLICK_EXCEPTION: Final[type[Exception]] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""The base class of the errors that typer finds in a command line. It contains a private copy of click."""

OTHER_NAMES: Final = {
    "--cid": "--resume",
    "--ctx-size": "--context",
    "--n-gpu-layers": "--gpu-layers",
    "--n-predict": "--max-tokens",
    "--ngl": "--gpu-layers",
    "--num-ctx": "--context",
    "--num-predict": "--max-tokens",
    "--param": "--var",
    "--repeat-last-n": "--repetition-range",
    "--repeat-penalty": "--repetition-penalty",
    "--role": "--persona",
    "--session": "--resume",
    "--template": "--persona",
    "--verbose": "--stats",
}
"""Options of other programs, each with the one that it is in hermes."""


def print_usage_error(error: Any, terminal: Terminal) -> int:
    """Print an error in the command line, and return its exit code."""
    exit_code: int = error.exit_code
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        terminal.plain(error.format_message())
        return exit_code
    if context is not None:
        terminal.plain(context.get_usage())
    message = sanitize_line(_message(error, context), LONG_LINE).removesuffix(".")
    hint = f"        run '{context.command_path} -h' for help" if context is not None else ""
    terminal.error(f"hermes: {message[:1].lower()}{message[1:]}", hint)
    return exit_code


def _message(error: Any, context: Any) -> str:
    """Return the message of an error. That of an unknown option has one suggestion."""
    name = getattr(error, "option_name", None)
    if type(error).__name__ != "NoSuchOption" or name is None or context is None:
        text: str = error.format_message()
        return text.replace("No such command", "there is no command").replace(". Did you", "; did you")
    known = [
        option
        for parameter in context.command.get_params(context)
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    ]
    return f"there is no option {name}{_suggestion(name, known)}"


def _suggestion(name: str, known: list[str]) -> str:
    """Return `; did you mean '--x'?` for the option that is meant, or an empty string.

    It is another program's name for it, the one that begins with `name`, or the one with a similar name.
    """
    meant = OTHER_NAMES.get(name, "")
    longer = [option for option in known if option.startswith(name)]
    if meant not in known and len(longer) == 1:
        meant = longer[0]
    if meant not in known:  # without the dashes, which would make all short names similar
        words = {option.removeprefix("--"): option for option in known}
        meant = words.get(closest(name.removeprefix("--"), words), "")
    return f"; did you mean '{meant}'?" if meant else ""
