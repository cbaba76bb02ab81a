"""The table of slash commands, used for dispatch, `/help`, completion and the list in the documentation."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.options import FIELDS
from hermes_cli.repl.commands import (
    answers,
    context_view,
    conversations,
    group,
    lore,
    message,
    notes,
    regex,
    settings,
    thinking,
    tree,
    users,
)
from hermes_cli.repl.state import ReplState

KEYS = (
    ("Enter", "Send; between triple quotes, begin a new line."),
    ("Alt-Enter, Ctrl-J", "Begin a new line."),
    ("Ctrl-C", "Stop an answer; clear the line."),
    ("Ctrl-D", "Leave."),
    ("Up, Ctrl-R", "Recall earlier input; a line that begins with a space is not saved."),
    ("Tab", "Complete a command and its arguments."),
    ("Ctrl-X Ctrl-E", "Open your editor."),
    ("//WORD", "Send /WORD to the model."),
)


class Command(NamedTuple):
    """A slash command. `choices` returns the possible arguments and their descriptions, for completion."""

    name: str
    arguments: str
    help: str
    run: Callable[[ReplState, str], None]
    aliases: tuple[str, ...] = ()
    choices: Callable[[ReplState], Mapping[str, str]] | None = None
    takes_path: bool = False

    @property
    def usage(self) -> str:
        """The command with its arguments, as in `/help`."""
        return f"/{self.name} {self.arguments}".rstrip()


def _help(state: ReplState, _argument: str) -> None:
    state.show_rows([*((command.usage, _help_text(command)) for command in COMMANDS), ("",), *KEYS])


def _help_text(command: "Command") -> str:
    aliases = ", ".join(f"/{alias}" for alias in command.aliases)
    return f"{command.help} Also {aliases}." if aliases else command.help


COMMANDS: tuple[Command, ...] = (
    Command("help", "", "List the commands and keys.", _help, ("?",)),
    Command("exit", "", "Leave hermes; Ctrl-D does the same.", settings.leave, ("quit", "bye", "q")),
    Command("clear", "", "Start a new conversation; the current one is kept.", settings.clear, ("new",)),
    Command("undo", "[N]", "Undo your last turn, or the last N turns.", tree.undo),
    Command(
        "regen",
        "",
        "Generate another answer to your last turn; the previous one is kept.",
        tree.again,
        ("retry",),
    ),
    Command("continue", "", "Continue the last answer where it ended.", message.go_on),
    Command(
        "impersonate",
        "",
        "Let the model draft your next turn, which you can edit at the prompt.",
        message.impersonate,
    ),
    Command(
        "swipe",
        "[left|right|N]",
        "Show another answer to the same turn, or generate one. Alt-Left and Alt-Right do the same.",
        tree.swipe,
    ),
    Command(
        "edit",
        "[N|answer|#ID]",
        "Replace your last turn, or the Nth from the end; 'answer' replaces the last answer, "
        "and #ID any message, with the later ones kept.",
        tree.edit,
        choices=lambda _state: {tree.ANSWER: "the last answer"},
    ),
    Command(
        "file",
        "[PATH|-]",
        "Attach a text file to your next message; - removes it.",
        message.file,
        takes_path=True,
    ),
    Command(
        "copy",
        "[code]",
        "Copy the last answer, or its last code block, to the terminal's clipboard.",
        answers.copy,
        choices=lambda _state: {answers.CODE: "the last code block of the answer"},
    ),
    Command(
        "tree",
        "",
        "Show all messages of this conversation as a tree, and your position in it.",
        tree.tree,
    ),
    Command("goto", "ID", "Go to a message of the tree.", tree.go_to),
    Command("delete", "ID", "Delete a message on a new branch, which keeps the later messages.", tree.delete),
    Command("hide", "ID", "Leave a message out of the prompt, or include it again.", tree.hide),
    Command("fork", "[TITLE]", "Continue in a copy of this conversation.", tree.fork),
    Command("sessions", "", "List the most recent conversations.", conversations.sessions),
    Command(
        "resume",
        "[NAME]",
        "Continue another conversation, by its number or title.",
        conversations.resume,
        choices=conversations.resume_choices,
    ),
    Command("title", "[TEXT]", "Show or set the title of this conversation.", conversations.title),
    Command("search", "WORDS", "Search the messages of all conversations.", conversations.search),
    Command(
        "export",
        "[FORMAT] [FILE]",
        "Export this conversation to a file: Markdown, JSON with the whole tree, and other formats.",
        conversations.export,
        choices=conversations.export_choices,
        takes_path=True,
    ),
    Command(
        "forget",
        "[--yes]",
        "Delete this conversation permanently; --yes skips the confirmation.",
        conversations.forget,
    ),
    Command("nolog", "", "Stop saving: from here on nothing is written to disk.", conversations.stop_saving),
    Command(
        "context",
        "[N]",
        "Show how the context window is used, and what is left out; N reloads the model with N tokens.",
        context_view.context,
    ),
    Command(
        "note",
        "[TEXT [DEPTH]|-]",
        "Insert a note into every prompt, DEPTH turns before its end (default 1); - removes it.",
        notes.note,
    ),
    Command(
        "lore",
        "[add KEYS: TEXT|off NAME|on NAME]",
        "Show the active lore entries with their keys and token counts; add one, or switch one off or on.",
        lore.lore,
        choices=lore.choices,
    ),
    Command(
        "regex",
        "[off|on]",
        "List the persona's regex scripts and what they change; turn all of them off or on.",
        regex.regex,
        choices=lambda _state: {
            regex.OFF: "turn the scripts off in this conversation",
            regex.ON: "turn them on again",
        },
    ),
    Command(
        "summary",
        "[TEXT|edit|-]",
        "Show or change the summary of the oldest turns; - restores the turns.",
        notes.summary,
        choices=lambda _state: {
            notes.EDIT: "edit the summary at the prompt",
            "-": "remove it; the turns are part of the prompt again",
        },
    ),
    Command("system", "[TEXT|-]", "Show or change the system prompt; - removes it.", settings.system),
    Command(
        "persona",
        "[NAME]",
        "List the personas, or start a new conversation with one.",
        settings.persona,
        choices=lambda state: state.host.persona_names(),
    ),
    Command(
        "talk",
        "[NAME]",
        "Let a character speak without a message of yours; by default, the one whose turn it is.",
        group.talk,
        choices=group.member_choices,
    ),
    Command(
        "group",
        "[add NAME|remove NAME]",
        "List the characters of this conversation; add one, or remove one.",
        group.group,
        choices=group.choices,
    ),
    Command(
        "user",
        "[NAME]",
        "Show who you are, or continue as another user; the config file's [users] have descriptions.",
        users.user,
        choices=users.user_choices,
    ),
    Command(
        "model",
        "[NAME]",
        "List the models and the servers, or switch to another.",
        settings.model,
        choices=lambda state: state.host.model_names(),
    ),
    Command(
        "set",
        "[OPTION VALUE]",
        "List the options, or set one; 'default' restores its initial value.",
        settings.set_option,
        choices=lambda _state: {name: known.help for name, known in FIELDS.items()},
    ),
    Command(
        "show",
        "[prompt]",
        "Show model, persona, options and context; 'prompt' prints the exact prompt.",
        settings.show,
        choices=lambda _state: {"prompt": "the exact prompt"},
    ),
    Command(
        "tokens",
        "[TEXT]",
        "Show the token count of the conversation, or of TEXT.",
        answers.tokens,
    ),
    Command(
        "thinking",
        "[show|hide|off]",
        "Show the model's reasoning before the last answer; show, hide or turn off later ones.",
        thinking.thinking,
        choices=lambda _state: {
            thinking.SHOW: "show the reasoning of the model",
            thinking.HIDE: "show only how long it takes",
            thinking.OFF: "let the model answer without reasoning",
        },
    ),
    Command("stats", "", "Toggle statistics after each answer.", answers.stats),
    Command(
        "multiline", "", "Toggle whether Enter begins a new line and Alt-Enter sends.", message.multiline
    ),
    Command("plain", "", "Toggle between Markdown and plain text.", answers.plain),
)

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


_OTHER_PREFIXES = re.compile(r"(!!?|\.)([a-z]+)(?: [^\n]*)?")


def find(name: str) -> Command | None:
    """Return the command with that name or alias, or None."""
    return _BY_NAME.get(name.lower())


def command_line(text: str) -> str | None:
    """Return the command in a line without its prefix, or None if the line is a message to the model.

    A slash begins a command. So does `!`, `!!` or `.`, as in other programs, if a known command follows. A
    word with a second slash is a path, and several lines are a command only if it takes a text.
    """
    if text.startswith("/"):
        name = (text[1:].split(maxsplit=1) or [""])[0]
        if "/" in name:
            return None
        command = find(name)
        is_multiline = "\n" in text.strip()
        takes_text = command is not None and any(word in command.arguments for word in ("TEXT", "VALUE"))
        return None if is_multiline and not takes_text else text[1:]
    found = _OTHER_PREFIXES.fullmatch(text)
    return text[found.end(1) :] if found and find(found[2]) else None


_OF_OTHER_PROGRAMS = {
    "load": "/resume continues a conversation, and /model switches the model",
    "save": "conversations are saved as they grow; /title names one, and /export writes a file",
}
"""The hints for commands that other programs have."""


def unknown_command_error(name: str) -> UsageError:
    """Return the error for an unknown command."""
    import difflib

    if hint := _OF_OTHER_PROGRAMS.get(name.lower()):
        return UsageError(f"there is no command /{name}", hint)
    close = difflib.get_close_matches(name.lower(), list(_BY_NAME), n=1)
    guess = f"; did you mean /{close[0]}?" if close else ""
    hint = "/help lists the commands; begin with // to send it to the model"
    return UsageError(f"there is no command /{name}{guess}", hint)
