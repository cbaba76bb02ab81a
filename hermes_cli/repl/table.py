"""The slash commands: one table, from which dispatch, `/help`, completion and the README's list are made.

It knows names and arguments. What a command does stands in `actions.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hermes_cli.errors import UsageError
from hermes_cli.repl import actions, branching, composing, contents, conversations, lore, notes, reading
from hermes_cli.repl.state import State

KEYS = (
    ("Enter", "Send; in a text between triple quotes, begin a new line."),
    ("Alt-Enter, Ctrl-J", "Begin a new line."),
    ("Ctrl-C", "Stop an answer; empty the line."),
    ("Ctrl-D", "Leave."),
    ("Up, Ctrl-R", "Bring back what was typed; a line that begins with a blank is not kept."),
    ("Tab", "Complete a command and what it takes."),
    ("Ctrl-X Ctrl-E", "Open your editor."),
    ("//WORD", "Say /WORD to the model."),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command. `choices` names what its argument can be, for completion."""

    name: str
    arguments: str
    help: str
    run: Callable[[State, str], None]
    aliases: tuple[str, ...] = ()
    choices: Callable[[State], Mapping[str, str]] | None = None
    takes_path: bool = False

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()


def _help(state: State, _argument: str) -> None:
    state.show_rows([*((command.usage, command.help) for command in COMMANDS), ("",), *KEYS])


COMMANDS: tuple[Command, ...] = (
    Command("help", "", "Show this list.", _help, ("?",)),
    Command("exit", "", "Leave; Ctrl-D does the same.", actions.leave, ("quit", "bye")),
    Command("clear", "", "Begin a new conversation; the one before is kept.", actions.clear, ("new",)),
    Command("undo", "[N]", "Stand before your last turn, or the Nth from the end.", branching.undo),
    Command(
        "regen", "", "Another answer to your last turn; the one before stays.", branching.again, ("retry",)
    ),
    Command("continue", "", "Let the last answer go on from where it ended.", composing.go_on),
    Command(
        "swipe",
        "[left|right|N]",
        "Show another of the answers here; right of the last makes one. Alt-Left and Alt-Right do it, too.",
        branching.swipe,
    ),
    Command(
        "edit",
        "[N|answer]",
        "Say something else in place of your last turn, or the Nth from the end.",
        branching.edit,
        choices=branching.edit_choices,
    ),
    Command(
        "file",
        "[PATH|-]",
        "Send a text file with your next message; - sends none.",
        composing.file,
        takes_path=True,
    ),
    Command(
        "copy",
        "[code]",
        "Copy the last answer, or the last code in it, to the terminal's clipboard.",
        reading.copy,
        choices=reading.copy_choices,
    ),
    Command("tree", "", "Show every message of this conversation, and where you are.", branching.tree),
    Command("goto", "ID", "Stand at a message of the tree.", branching.go_to),
    Command("fork", "[TITLE]", "Go on in a copy of this conversation.", branching.fork),
    Command("sessions", "", "List the last conversations.", conversations.sessions),
    Command(
        "resume",
        "[NAME]",
        "Go on with another conversation, by its number or title.",
        conversations.resume,
        choices=conversations.resume_choices,
    ),
    Command("title", "[TEXT]", "Show this conversation's title, or give it one.", conversations.title),
    Command("search", "WORDS", "Find messages in all conversations.", conversations.search),
    Command(
        "export",
        "[FORMAT] [FILE]",
        "Write this conversation to a file: Markdown, JSON with the whole tree, and others.",
        conversations.export,
        choices=conversations.export_choices,
        takes_path=True,
    ),
    Command("forget", "", "Delete this conversation, so that no word of it is left.", conversations.forget),
    Command("nolog", "", "Write nothing down from here on.", conversations.leave_no_trace),
    Command(
        "context", "", "Draw what takes how much of the context, and what is left out.", contents.context
    ),
    Command(
        "note",
        "[TEXT [DEPTH]|-]",
        "Have a text told near the end of every prompt, DEPTH turns from it (1); - takes it away.",
        notes.note,
    ),
    Command(
        "lore",
        "[add KEYS: TEXT]",
        "Show which lore is told, by which word, and what it costs; or write an entry.",
        lore.lore,
        choices=lore.choices,
    ),
    Command(
        "summary",
        "[TEXT|edit|-]",
        "Show what the oldest turns were condensed to, or change it; - brings the turns back.",
        notes.summary,
        choices=notes.summary_choices,
    ),
    Command("system", "[TEXT|-]", "Show the system prompt, change it, or (-) take it away.", actions.system),
    Command(
        "persona",
        "[NAME]",
        "List the personas, or begin a new conversation with one.",
        actions.persona,
        choices=actions.persona_choices,
    ),
    Command(
        "model",
        "[NAME]",
        "List the models that are here, or go on with another.",
        actions.model,
        choices=actions.model_choices,
    ),
    Command(
        "set",
        "[OPTION VALUE]",
        "List the options, or set one; 'default' puts it back as it was at the start.",
        actions.set_option,
        choices=actions.option_choices,
    ),
    Command(
        "show",
        "[prompt]",
        "Show model, persona, options and context; 'prompt' shows the exact ChatML that goes to the model.",
        actions.show,
        choices=actions.show_choices,
    ),
    Command(
        "tokens",
        "[TEXT]",
        "Show what the conversation takes of the context, or a text's tokens.",
        reading.tokens,
    ),
    Command(
        "stats", "", "Show what the last answer cost, and each one from here on; or no more.", reading.stats
    ),
    Command(
        "multiline", "", "Let Enter begin a new line and Alt-Enter send; or as before.", composing.multiline
    ),
    Command("plain", "", "Show answers as they are written; or as Markdown again.", reading.plain),
)

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


_OTHER_MARKS = re.compile(r"(!!?|\.)([a-z]+)(?: [^\n]*)?")


def find(name: str) -> Command | None:
    """Return the command of that name or alias."""
    return _BY_NAME.get(name.lower())


def command_line(text: str) -> str | None:
    """Return the command that a line spells, without its mark, or None where it is said to the model.

    A slash marks one. So do `!`, `!!` and `.`, as in other programs, before a word that is one here.
    """
    if text.startswith("/"):
        return None if text.startswith("//") else text[1:]
    found = _OTHER_MARKS.fullmatch(text)
    return text[found.end(1) :] if found and find(found[2]) else None


def nearest(name: str) -> UsageError:
    """Return the error for an unknown command."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    close = difflib.get_close_matches(name.lower(), list(_BY_NAME), n=1)
    guess = f"; did you mean /{close[0]}?" if close else ""
    hint = "/help lists the commands; begin with // to say it to the model"
    return UsageError(f"there is no command /{name}{guess}", hint)
