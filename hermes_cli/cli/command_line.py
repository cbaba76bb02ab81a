"""Completes a command line without a command: options, a prompt, or the verbs of other programs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import typer
import typer.core

from hermes_cli.cli.usage_error import CLICK_EXCEPTION
from hermes_cli.errors import UsageError

GLOBAL_OPTIONS: Final = ("--debug", "--version", "-h", "--help")
_ANSWERED: Final = frozenset(GLOBAL_OPTIONS[1:])
"""The global options with which no command runs."""
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "pull": ("models", "pull"),
    "list": ("models", "list"),
    "ls": ("models", "list"),
    "show": ("models", "show"),
    "version": ("--version",),
}
"""The verbs of other programs, each with the arguments that replace it."""
COMPLETED_AS: Final[Mapping[str, tuple[str, ...]]] = {**ALIASES, "run": ("chat", "-m"), "help": ()}
"""The arguments that a shell completes instead of a verb of other programs."""
OTHER_VERBS: Final = (*ALIASES, "run", "ps", "rm", "help")
"""All verbs that are not in the list of commands."""

ALONE: Final = {
    "serve": "hermes has no server",
    "stop": "no model stays loaded after a command",
    "logs": "'hermes sessions list' lists the conversations",
}
"""Verbs of other programs that hermes lacks. Followed by other words, they begin a prompt."""

_PROMPT_HINT: Final = "if it is a prompt, write it after 'hermes ask'"

Commands = Callable[[str], Any]
"""Returns the typer command of a verb."""


def completed(
    arguments: Sequence[str], verbs: Collection[str], commands: Commands, *, interactive: bool
) -> list[str]:
    """Return the arguments with a verb after the global options.

    Without a verb, words are a prompt for `ask`; other command lines start `chat` if the program is
    `interactive`, and otherwise `ask`. Raises UsageError if that verb lacks an option, or if the first word
    is almost a verb.
    """
    count = next((n for n, word in enumerate(arguments) if word not in GLOBAL_OPTIONS), len(arguments))
    first, rest = list(arguments[:count]), list(arguments[count:])
    if not rest and not _ANSWERED.isdisjoint(first):
        return first
    word = rest[0] if rest else ""
    if word in verbs or word == "ps":
        return [*first, *rest]
    if word in ALIASES:
        return [*first, *ALIASES[word], *rest[1:]]
    if word == "help":
        if (topic := rest[1] if rest[1:] else "-") not in (*verbs, *OTHER_VERBS) and topic[0] != "-":
            raise UsageError(f"there is no command '{topic}'; 'hermes help' lists the commands", _PROMPT_HINT)
        return completed([*first, *rest[1:], "--help"], verbs, commands, interactive=interactive)
    if word in ALONE and all(other.startswith("-") for other in rest[1:]):
        raise UsageError(f"there is no command '{word}'", f"{ALONE[word]}; {_PROMPT_HINT}")
    if word == "rm":
        raise UsageError(
            "there is no command 'rm'",
            "'hermes models rm NAME' removes a model, 'hermes sessions rm NAME' a conversation",
        )
    if word == "run":
        rest = _run_arguments(rest[1:])
    elif not word.startswith("-") and (close := _close_verb(word, (*verbs, *OTHER_VERBS))):
        raise UsageError(
            f"there is no command '{word}'; did you mean '{close}'?",
            _PROMPT_HINT,
        )
    return [*first, _verb_for(rest, verbs, commands, interactive=interactive), *rest]


def _run_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that replace those of `run MODEL [PROMPT]`."""
    if not arguments or arguments[0].startswith("-"):
        raise UsageError(
            "'run' needs the name of a model first: hermes run MODEL [PROMPT]",
            "'hermes models list' shows them",
        )
    return ["-m", *arguments]


def _verb_for(
    arguments: Sequence[str], verbs: Collection[str], commands: Commands, *, interactive: bool
) -> str:
    """Return the verb for options and words of a prompt: `ask` or `chat`."""
    params = {verb: {param.name: param for param in commands(verb).params} for verb in ("ask", "chat")}
    both = typer.core.TyperCommand(None, params=[*(params["chat"] | params["ask"]).values()])
    context = typer.Context(both, resilient_parsing=True, help_option_names=["-h", "--help"])
    default = "chat" if interactive else "ask"
    try:
        given, _, _ = both.make_parser(context).parse_args([*arguments])
    except CLICK_EXCEPTION:  # parsing the arguments of the verb raises it again
        return default
    words = given.pop("prompt", None) or ()
    if words and words[0] in verbs and not _ends_options(arguments, words[0]):
        raise UsageError(
            f"the options of '{words[0]}' belong after it", f"use 'hermes {words[0]}', and then the options"
        )
    verb = "ask" if words else default
    for name in given:
        if name not in params[verb] and name in params["ask"] | params["chat"]:
            other = "chat" if verb == "ask" else "ask"
            flag = max(params[other][name].opts, key=len)
            raise UsageError(
                f"this starts '{verb}', which has no option {flag}", f"use 'hermes {other} {flag}'"
            )
    return verb


def _ends_options(arguments: Sequence[str], word: str) -> bool:
    """Return whether the word follows `--`, after which every word is a part of the prompt."""
    return "--" in arguments and arguments.index("--") < arguments.index(word)


def _close_verb(word: str, verbs: Collection[str]) -> str:
    """Return the verb that the word differs from by one typing error, or an empty string."""
    return next((verb for verb in verbs if is_typo(word.lower(), verb)), "")


def is_typo(word: str, verb: str) -> bool:
    """Return whether one letter of `verb` is missing, extra, wrong or swapped with the next one.

    A wrong first letter does not count, since `what` would then be a typing error for `chat`.
    """
    pairs = enumerate(zip(word, verb, strict=False))
    start = next((n for n, (typed, wanted) in pairs if typed != wanted), min(len(word), len(verb)))
    typed, wanted = word[start:], verb[start:]
    if typed == wanted:
        return True
    is_swapped = typed[:2] == wanted[1::-1] and typed[2:] == wanted[2:]
    is_wrong = start > 0 and typed[1:] == wanted[1:]
    return bool(word) and (typed[1:] == wanted or typed == wanted[1:] or is_swapped or is_wrong)
