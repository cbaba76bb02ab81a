"""Prints the errors that typer finds in a command line, in the way of hermes' own errors."""

import re
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

OTHER_COMMANDS: Final = {
    "add": "import",
    "create": "new",
    "delete": "rm",
    "download": "pull",
    "get": "show",
    "install": "pull",
    "ls": "list",
    "remove": "rm",
}
"""Commands of other programs, each with the one that it is in a command group of hermes."""

_UNSET: Final = "'hermes config unset KEY' removes a setting"
_DELETE_PERSONA: Final = "'hermes personas show NAME' prints the path of its file: delete that file"
WITHOUT_COMMAND: Final = {
    **dict.fromkeys(("config rm", "config remove", "config delete", "config reset"), _UNSET),
    **dict.fromkeys(("personas rm", "personas delete", "personas remove"), _DELETE_PERSONA),
}
"""What a user can do instead of a command that hermes does not have."""

WITHOUT_OPTION: Final = {
    ("ask", "--no-log"): "ask saves nothing without --log; 'hermes chat --no-log PROMPT' continues in a chat",
}
"""What a user can do instead of an option that a command does not have."""


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
    terminal.error(f"hermes: {message[:1].lower()}{message[1:]}", _hint(error, context))
    return exit_code


def _hint(error: Any, context: Any) -> str:
    """Return the line with the next step, or an empty string."""
    if context is None:
        return ""
    instead = WITHOUT_COMMAND.get(f"{context.info_name} {_unknown_command(error)}") or WITHOUT_OPTION.get(
        (context.info_name, getattr(error, "option_name", None) or "")
    )
    return " " * 8 + (instead or f"run '{context.command_path} -h' for help")


def _unknown_command(error: Any) -> str:
    """Return the command that does not exist, or an empty string if that is not the error."""
    found = re.match(r"No such command '([^']*)'", str(error.format_message()))
    return found[1] if found else ""


def _message(error: Any, context: Any) -> str:
    """Return the message of an error. That of an unknown command or option has one suggestion at most."""
    option, kind = getattr(error, "option_name", None), type(error).__name__
    text: str = error.format_message()
    if context is None:
        return text
    if word := _unknown_command(error):
        known = getattr(context.command, "commands", {})
        meant = OTHER_COMMANDS.get(word, "")
        if meant not in known:
            meant = "" if f"{context.info_name} {word}" in WITHOUT_COMMAND else closest(word, known)
        return f"there is no command '{word}'" + (f"; did you mean '{meant}'?" if meant else "")
    if kind == "NoSuchOption" and option is not None:
        has_advice = (context.info_name, option) in WITHOUT_OPTION
        guess = "" if has_advice else _suggestion(option, _known_options(context))
        return f"there is no option {option}{guess}"
    if found := re.match(r"Got unexpected extra argument\S* \((.*)\)", text):
        return f"'{context.command_path}' takes no argument '{found[1]}'"
    text = re.sub(r"(\S+) is not in the range x>=(\d+)", r"\1 is less than \2", text)
    return " ".join(text.replace(". Choose from:", "; it can be").split())


def _known_options(context: Any) -> list[str]:
    """Return the long options of a command."""
    return [
        option
        for parameter in context.command.get_params(context)
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    ]


def _suggestion(name: str, known: list[str]) -> str:
    """Return `; did you mean '--x'?` for the option that is meant, or an empty string.

    It is another program's name for it, the one that begins with `name`, or the one with a similar name.
    """
    name = name.replace("_", "-")
    meant = OTHER_NAMES.get(name, "")
    longer = [option for option in known if option.startswith(name)]
    if meant not in known and len(longer) == 1:
        meant = longer[0]
    if meant not in known:  # without the dashes, which would make all short names similar
        words = {option.removeprefix("--"): option for option in known}
        meant = words.get(closest(name.removeprefix("--"), words), "")
    return f"; did you mean '{meant}'?" if meant else ""
